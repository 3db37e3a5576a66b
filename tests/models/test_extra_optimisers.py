import copy
import sys

import pytest
import torch
from torch import nn

from aesop.errors import Unavailable
from aesop.models import extra_optimisers as part
from aesop.models.gradient_step import build_optimiser
from aesop.registry import OPTIMIZERS


def trained(block, steps=6):
    """A regression after some steps; the optimiser, and the losses."""
    torch.manual_seed(0)
    net, x = nn.Linear(4, 4), torch.rand(32, 4)
    optimiser = build_optimiser(block, net.parameters())
    return net, x, optimiser, [step(net, x, optimiser) for _ in range(steps)]


def step(net, x, optimiser):
    loss = (net(x) - x).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


@pytest.mark.parametrize('name', ['Adan', 'SOAP', 'Lion', 'Prodigy', 'ScheduleFreeAdamW', 'ADOPT'])
def test_it_trains(name):
    pytest.importorskip('pytorch_optimizer')
    losses = trained({'type': name, 'lr': 1.0 if name == 'Prodigy' else 0.02}, steps=60)[3]
    assert losses[-1] < 0.9 * losses[0]


def test_all_names_exist():
    package = pytest.importorskip('pytorch_optimizer')
    assert all(hasattr(package, name) for name in part.NAMES) and set(part.NAMES) <= set(OPTIMIZERS.names())


def test_the_switch_of_a_schedule_free_optimiser_leaves_no_trace():
    pytest.importorskip('pytorch_optimizer')
    net, x, optimiser, _ = trained({'type': 'ScheduleFreeAdamW', 'lr': 0.05})
    before = net.weight.detach().clone()
    with part.average_weights([optimiser]):
        within = net.weight.detach().clone()
    assert torch.equal(net.weight, before) and not torch.equal(within, before)
    other = trained({'type': 'ScheduleFreeAdamW', 'lr': 0.05})
    assert step(net, x, optimiser) == step(*other[:3]) and torch.equal(net.weight, other[0].weight)


def test_what_it_counted_is_kept():
    pytest.importorskip('pytorch_optimizer')
    block = {'type': 'ScheduleFreeAdamW', 'lr': 0.05}
    net, x, optimiser, _ = trained(block)
    (counted,) = part.group_state(optimiser)
    assert counted['weight_sum'] > 0 and 'lr' not in counted
    again, _, resumed, _ = trained(block, steps=0)
    again.load_state_dict(net.state_dict())
    resumed.load_state_dict(resumed.state_dict() | {'state': copy.deepcopy(optimiser.state_dict()['state'])})
    part.load_group_state(resumed, part.group_state(optimiser))
    for _ in range(3):
        assert step(net, x, optimiser) == step(again, x, resumed)
    assert torch.equal(net.weight, again.weight)


def test_those_of_pytorch_count_nothing():
    net, _, optimiser, _ = trained({'type': 'Adam', 'lr': 0.1})
    assert part.group_state(optimiser) == [{}]
    before = net.weight.detach().clone()
    with part.average_weights([optimiser]):
        assert torch.equal(net.weight, before)


def test_mistakes_are_told(monkeypatch):
    pytest.importorskip('pytorch_optimizer')
    monkeypatch.setitem(sys.modules, 'pytorch_optimizer', None)
    with pytest.raises(Unavailable, match=r'pip install "aesop-sr\[optimisers\]"'):
        trained({'type': 'Adan', 'lr': 0.1})
