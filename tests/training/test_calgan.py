"""A whole run with CAL-GAN's discriminator goes on bit for bit."""

from pathlib import Path

from tests.training.test_loop import same, stop_at, train, weights


def test_a_stopped_run_goes_on_bit_for_bit(folder, adversarial, monkeypatch):
    adversarial['network_d'] = {'type': 'MOD', 'num_feat': 8, 'num_expert': 3}
    assert train({**adversarial, 'name': 'whole'}, file='whole.yml') == 0
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        assert train(adversarial) == 3
    assert train(adversarial, '--auto_resume') == 0
    assert same(weights(), weights('whole'))
    logs = [Path(f'experiments/{name}/train.jsonl').read_text().splitlines()[-1] for name in ('whole', 'tiny')]
    assert all('l_d_balance' in log for log in logs)
