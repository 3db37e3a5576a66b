import pytest

from aesop.errors import UserError
from aesop.training.changes import check_changes

BEFORE = {'scale': 4, 'model_type': 'SRModel', 'network_g': {'type': 'RRDBNet', 'num_feat': 8}, 'train': {'lr': 0.1}}


def test_harmless_changes_are_listed(caplog):
    check_changes(BEFORE, BEFORE)
    assert caplog.text == ''
    check_changes(BEFORE, BEFORE | {'train': {'lr': 0.2, 'ema': 1}})
    assert 'train.lr was 0.1 and is now 0.2; train.ema was None and is now 1' in caplog.text


@pytest.mark.parametrize(('change', 'said'), [
    ({'scale': 2}, 'scale was 4 and is now 2'),
    ({'model_type': 'AEModel'}, 'model_type was SRModel'),
    ({'network_g': {'type': 'RRDBNet', 'num_feat': 16}}, 'network_g.num_feat was 8 and is now 16'),
    ({'network_d': {'type': 'UNetDiscriminatorSN'}}, 'network_d was None'),
])  # fmt: skip
def test_another_run_needs_force(change, said, caplog):
    with pytest.raises(UserError, match='--force') as raised:
        check_changes(BEFORE, BEFORE | change)
    assert said in raised.value.problems[0]
    check_changes(BEFORE, BEFORE | change, force=True)
    assert said in caplog.text


def test_networks_that_are_not_resumed_may_differ(caplog):
    now = BEFORE | {'model_type': 'ESRGANModel', 'network_d': {'type': 'UNetDiscriminatorSN'}}
    check_changes(BEFORE, now, keep=['network_d'])
    assert 'network_d was None' in caplog.text
    with pytest.raises(UserError, match='scale was 4'):
        check_changes(BEFORE, now | {'scale': 2}, keep=['network_d'])
