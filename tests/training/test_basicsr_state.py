"""A run of BasicSR is gone on with: its states name no parameters, and its networks may have them in another order."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from aesop.models import build_model
from aesop.options import load_options
from aesop.training.basicsr_state import take_over
from aesop.utils import checkpoint
from tests.training.test_loop import train, weights


def as_basicsr_saves(model, iteration, root, reverse=False):
    """The files that BasicSR writes; with `reverse` of networks that register their parameters the other way round."""
    optimizers = []
    for name, optimiser in model._optimisers.items():
        net = model._nets[name.replace('optim', 'net')]
        files = {'params': checkpoint.network_state_dict(net)}
        if name == 'optim_g':
            files['params_ema'] = checkpoint.network_state_dict(model.net_g_ema)
        state, count = optimiser.state_dict()['state'], len(list(net.parameters()))
        if reverse:
            files = {key: dict(reversed(list(each.items()))) for key, each in files.items()}
            state = {count - 1 - position: values for position, values in state.items()}
        (root / 'models').mkdir(parents=True, exist_ok=True)
        torch.save(files, root / f'models/{name.replace("optim", "net")}_{iteration}.pth')
        optimizers.append({'state': state, 'param_groups': [{'lr': 1e-4, 'params': list(range(count))}]})
    state = {'epoch': 1, 'iter': iteration, 'optimizers': optimizers, 'schedulers': [{'milestones': Counter([5])}]}
    (root / 'training_states').mkdir(exist_ok=True)
    torch.save(state, root / f'training_states/{iteration}.state')


@pytest.fixture
def trained(adversarial):
    """A model after two steps."""
    model = build_model(load_options(adversarial), 'cpu')
    for i in (1, 2):
        model.step({'lq': torch.rand(2, 3, 8, 8), 'gt': torch.rand(2, 3, 32, 32)}, i)
    return model


@pytest.mark.parametrize('reverse', [False, True])
def test_weights_and_optimisers_are_taken_over(trained, adversarial, reverse, tmp_path, caplog):
    as_basicsr_saves(trained, 2, tmp_path / 'basicsr', reverse)
    file = tmp_path / 'basicsr/training_states/2.state'
    model = build_model(load_options(adversarial), 'cpu')
    with caplog.at_level('INFO'):
        take_over({**checkpoint.load(file), 'file': str(file)}, model)
    told = caplog.text.partition('was saved by BasicSR: restored ')[2].partition('; not restored: ')[0]
    assert set(told.split(', ')) == {'net_g', 'optim_g', 'net_g_ema', 'net_d', 'optim_d'}
    batch = {'lq': torch.rand(2, 3, 8, 8), 'gt': torch.rand(2, 3, 32, 32)}
    for each in (trained, model):
        each.step(batch, 3)
    for name, net in trained._nets.items():
        for key, tensor in net.state_dict().items():
            assert torch.equal(tensor, model._nets[name].state_dict()[key]), (name, key)


def test_a_run_goes_on_from_it(folder, adversarial, trained, caplog, capsys):
    as_basicsr_saves(trained, 2, Path('experiments/basicsr'))
    adversarial['path']['resume_state'] = 'experiments/basicsr/training_states/2.state'
    adversarial['train']['total_iter'] = 4
    assert train(adversarial) == 0
    assert '2.state was saved by BasicSR: restored net_g' in capsys.readouterr().out
    assert weights(iteration=4)


def test_what_does_not_fit_is_said(trained, adversarial, tmp_path, caplog):
    as_basicsr_saves(trained, 2, tmp_path / 'basicsr')
    (tmp_path / 'basicsr/models/net_d_2.pth').unlink()
    file = tmp_path / 'basicsr/training_states/2.state'
    adversarial['train']['optim_g'] = {'type': 'SGD', 'lr': 1e-3}
    model = build_model(load_options(adversarial), 'cpu')
    with caplog.at_level('INFO'):
        take_over({**checkpoint.load(file), 'file': str(file)}, model)
    assert 'optim_g, which starts fresh (it is not of SGD)' in caplog.text
    assert 'net_d_2.pth not found' in caplog.text
    (tmp_path / 'basicsr/models/net_g_2.pth').unlink()
    with pytest.raises(checkpoint.UserError, match='net_g_2.pth not found: BasicSR states contain no weights'):
        take_over({**checkpoint.load(file), 'file': str(file)}, model)
