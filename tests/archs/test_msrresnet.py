import pytest
import torch
import torch.nn.functional as F

from aesop.archs.msrresnet import MSRResNet
from aesop.errors import UserError
from tests.golden import fill_, image


@pytest.mark.parametrize('upscale', [2, 3, 4])
def test_output_is_upscale_times_the_input(upscale):
    net = fill_(MSRResNet(num_feat=8, num_block=1, upscale=upscale))
    assert net.scale == upscale
    assert net(image(1, 3, 7, 9)).shape == (1, 3, 7 * upscale, 9 * upscale)


def test_without_its_last_layer_it_is_bilinear():
    net = MSRResNet(num_feat=8, num_block=1)
    torch.nn.init.zeros_(net.conv_last.weight)
    x = image(1, 3, 7, 9)
    assert torch.equal(net(x), F.interpolate(x, scale_factor=4, mode='bilinear'))


def test_an_impossible_scale_is_refused():
    with pytest.raises(UserError, match='not 8'):
        MSRResNet(upscale=8)
