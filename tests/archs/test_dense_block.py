"""The fast dense block against the one that is computed as it is defined (`use_plain`)."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from aesop.archs.dense_block import ResidualDenseBlock
from aesop.archs.layers import use_plain
from aesop.archs.rrdbnet import RRDBNet
from aesop.archs.rrdbnet_legacy import LegacyRRDB
from tests.golden import fill_, image, photograph

WIDTHS = 12, 5  # of the trunk, and grown: all different from each other


def both(net):
    """`net` and its plain form, with the same weights."""
    return net, use_plain(deepcopy(net))


def gradients(net, x, weight):
    x = x.clone().requires_grad_()
    out = net(x)
    (out * weight).sum().backward()
    return [out.detach(), x.grad, *(p.grad for p in net.parameters() if p.requires_grad)]


def assert_same(fast, plain, tolerance):
    for a, b in zip(fast, plain, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * b.abs().max().item())


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('learning', ['all', 'nothing', 'first', 'last'])
def test_values_and_gradients_equal_the_plain_form(layout, learning):
    net = fill_(ResidualDenseBlock(*WIDTHS)).to(memory_format=layout)
    learners = {'all': net, 'nothing': nn.Module(), 'first': net.conv1, 'last': net.conv5}[learning]
    net.requires_grad_(False)
    learners.requires_grad_(True)
    fast, plain = both(net)
    x, weight = (image(2, WIDTHS[0], 9, 7, phase).contiguous(memory_format=layout) for phase in (0, 1))
    assert_same(gradients(fast, x, weight), gradients(plain, x, weight), 1e-6)


def test_wrapped_convolutions_of_older_networks():
    fast, plain = both(fill_(LegacyRRDB(*WIDTHS, wrapped=True)))
    x = image(1, WIDTHS[0], 6, 6)
    assert_same(gradients(fast, x, x), gradients(plain, x, x), 1e-6)


def test_a_photograph_through_a_network():
    lq = photograph(2, 24)
    fast, plain = both(fill_(RRDBNet(num_feat=16, num_block=2, num_grow_ch=8)))
    weight = photograph(2, 96)
    assert_same(gradients(fast, lq, weight), gradients(plain, lq, weight), 1e-5)


@pytest.mark.parametrize('frozen', [False, True])
def test_under_autocast_it_is_as_near_to_fp32_as_the_plain_form(frozen):
    net = fill_(RRDBNet(num_feat=16, num_block=2, num_grow_ch=8)).requires_grad_(not frozen)
    fast, plain = both(net)
    lq, weight = photograph(1, 16), photograph(1, 64)
    exact = gradients(deepcopy(net), lq, weight)
    with torch.autocast('cpu', torch.bfloat16):
        results = [gradients(one, lq, weight) for one in (fast, plain)]
    errors = [[(a.float() - e).norm() / e.norm() for a, e in zip(result, exact, strict=True)] for result in results]
    assert max(errors[0]) < 1.2 * max(errors[1]) < 0.1


def test_it_keeps_the_parts_alone():
    x = image(1, 64, 8, 8).requires_grad_()
    kept = []
    for net in both(ResidualDenseBlock(64, 32)):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, sizes=sizes: sizes.append(t), lambda t: t):
            net(x)
        weights = {p.data_ptr() for p in net.parameters()}
        distinct = {t.data_ptr(): t.numel() for t in sizes if t.data_ptr() not in weights}
        kept.append(sum(distinct.values()) / 64)  # channels
    assert kept[0] == 64 + 4 * 32
    assert kept[1] > 3 * kept[0]


def test_without_gradients_nothing_is_kept_and_the_result_is_the_same():
    net = fill_(ResidualDenseBlock(*WIDTHS))
    x = image(1, WIDTHS[0], 5, 5)
    learned = net(x)
    with torch.no_grad():
        assert torch.equal(net(x), learned)
