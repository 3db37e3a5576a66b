import torch
from torch import nn

from aesop.archs.layers import conv3x3, init_small_, pad_to_multiple, recompute, use_plain
from aesop.archs.rrdbnet import RRDB
from aesop.archs.swinir import SwinIR
from tests.golden import image


def test_init_small_is_a_tenth_of_kaiming_with_zero_bias():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(32, 64, 3), nn.Sequential(nn.Conv2d(64, 32, 3, bias=False)))
    init_small_(net)
    assert not net[0].bias.any()
    for conv, fan_in in ((net[0], 32 * 9), (net[1][0], 64 * 9)):
        assert abs(conv.weight.std().item() / (0.1 * (2 / fan_in) ** 0.5) - 1) < 0.03


def test_pad_reflects_at_the_right_and_the_bottom():
    x = image(1, 3, 6, 9)
    padded = pad_to_multiple(x, 4)
    assert padded.shape == (1, 3, 8, 12)
    assert torch.equal(padded[..., :6, :9], x)
    assert torch.equal(padded[..., 6:, :9], x[..., [4, 3], :])
    assert torch.equal(padded[..., :6, 9:], x[..., [7, 6, 5]])


def test_pad_leaves_a_multiple_alone():
    x = image(1, 3, 8, 12)
    assert pad_to_multiple(x, 4) is x


def test_a_side_shorter_than_its_padding_is_reflected_to_and_fro():
    x = torch.arange(3.0).view(1, 1, 1, 3)
    assert pad_to_multiple(x, 8)[0, 0, 0].tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
    assert pad_to_multiple(x, 8)[0, 0, :, 1].tolist() == [1] * 8


def test_recompute_gives_the_same_gradients_from_a_second_run():
    torch.manual_seed(0)
    net, runs, gradients = conv3x3(3, 3), [], []
    net.register_forward_pre_hook(lambda *_: runs.append(1))
    for use_checkpoint, expected in ((False, 1), (True, 2)):
        x = image(1, 3, 5, 5).requires_grad_()
        runs.clear()
        recompute(use_checkpoint, net, x).square().sum().backward()
        assert len(runs) == expected
        gradients.append(x.grad)
    assert torch.equal(*gradients)
    runs.clear()
    with torch.no_grad():
        recompute(True, net, x)
    assert len(runs) == 1


def test_plain_blocks_are_a_switch_for_all_inside():
    net = nn.Sequential(RRDB(4, 2), SwinIR(img_size=8, window_size=4, depths=[2], embed_dim=4, num_heads=[2]))
    assert use_plain(net) is net
    assert [m.plain for m in net.modules() if hasattr(m, 'plain')] == [True] * 13
    use_plain(net, False)
    assert not any(m.plain for m in net.modules() if hasattr(m, 'plain'))
