import torch

from aesop.archs import build_network
from aesop.utils.imresize import imresize
from tests.golden import image


def test_it_is_matlabs_bicubic_and_has_no_parameters():
    net = build_network({'type': 'Bicubic', 'scale': 3})
    x = image(2, 3, 8, 7)
    assert net.scale == 3
    assert list(net.state_dict()) == []
    assert net(x).shape == (2, 3, 24, 21)
    assert torch.equal(net(x), imresize(x, 3))
