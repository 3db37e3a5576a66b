import pytest
import torch

from aesop.archs.dense_block import ResidualDenseBlock
from aesop.archs.rrdbnet import RRDBNet
from aesop.errors import UserError
from tests.golden import fill_, image

TINY = {'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4}


@pytest.mark.parametrize('scale', [1, 2, 4, 8])
def test_output_is_scale_times_the_input_also_for_odd_sides(scale):
    net = fill_(RRDBNet(scale=scale, **TINY))
    assert net.scale == scale
    assert net(image(2, 3, 9, 11)).shape == (2, 3, 9 * scale, 11 * scale)


def test_odd_sides_are_padded_by_reflection_and_cropped():
    net = fill_(RRDBNet(scale=2, **TINY))
    x = image(1, 3, 9, 12)
    padded = torch.cat((x, x[..., -2:-1, :]), dim=-2)
    assert torch.equal(net(x), net(padded)[..., :18, :])


def test_x8_has_a_third_upsampling():
    assert 'conv_up3.weight' in RRDBNet(scale=8, **TINY).state_dict()
    assert 'conv_up3.weight' not in RRDBNet(scale=4, **TINY).state_dict()


def test_dense_blocks_start_near_the_identity():
    torch.manual_seed(0)
    block = ResidualDenseBlock(16, 8)
    assert not block.conv3.bias.any()
    x = image(1, 16, 8, 8)
    assert 0 < (block(x) - x).abs().max() < 0.05


def test_gradients_reach_every_parameter():
    net = fill_(RRDBNet(scale=8, **TINY)).train()
    net(image(1, 3, 5, 5)).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_an_impossible_scale_is_refused():
    with pytest.raises(UserError, match='not 3'):
        RRDBNet(scale=3)


def test_checkpointing_changes_no_gradient():
    x = image(1, 3, 6, 6)
    gradients = []
    for use_checkpoint in (False, True):
        net = fill_(RRDBNet(use_checkpoint=use_checkpoint, **TINY)).train()
        net(x).square().mean().backward()
        gradients.append([p.grad for p in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients))


@pytest.mark.parametrize(('use_checkpoint', 'again'), [(False, 0), (0, 0), (2, 2), (True, 3), (9, 3)])
def test_checkpointing_of_the_first_blocks(use_checkpoint, again):
    net = fill_(RRDBNet(use_checkpoint=use_checkpoint, **TINY | {'num_block': 3}))
    calls = []
    for block in net.body:
        block.register_forward_pre_hook(lambda *_: calls.append(1))
    net(image(1, 3, 6, 6)).sum().backward()
    assert len(calls) == 3 + again
