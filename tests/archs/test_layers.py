import torch
from torch import nn

from aesop.archs.layers import init_small_, pad_to_multiple
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
