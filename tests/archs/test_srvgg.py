import pytest
import torch
import torch.nn.functional as F

from aesop.archs.srvgg import SRVGGNetCompact
from aesop.errors import UserError
from tests.golden import fill_, image


@pytest.mark.parametrize('upscale', [1, 2, 3, 4])
def test_output_is_upscale_times_the_input(upscale):
    net = fill_(SRVGGNetCompact(num_feat=4, num_conv=2, upscale=upscale))
    assert net.scale == upscale
    assert net(image(2, 3, 5, 7)).shape == (2, 3, 5 * upscale, 7 * upscale)


def test_names_are_positions():
    shapes = {name: list(t.shape) for name, t in SRVGGNetCompact(num_feat=8, num_conv=1).state_dict().items()}
    assert shapes == {
        'body.0.weight': [8, 3, 3, 3],
        'body.0.bias': [8],
        'body.1.weight': [8],
        'body.2.weight': [8, 8, 3, 3],
        'body.2.bias': [8],
        'body.3.weight': [8],
        'body.4.weight': [48, 8, 3, 3],
        'body.4.bias': [48],
    }


def test_parameters_of_the_published_sizes():
    sizes = [sum(p.numel() for p in SRVGGNetCompact(num_conv=n).parameters()) for n in (16, 32)]
    assert sizes[0] == (27 + 1) * 64 + 16 * (576 + 1) * 64 + 17 * 64 + (576 + 1) * 48
    assert sizes[1] - sizes[0] == 16 * ((576 + 1) * 64 + 64)


def test_without_a_residual_it_is_nearest_upsampling():
    net = SRVGGNetCompact(num_feat=4, num_conv=1)
    torch.nn.init.zeros_(net.body[-1].weight)
    torch.nn.init.zeros_(net.body[-1].bias)
    x = image(1, 3, 4, 5)
    assert torch.equal(net(x), F.interpolate(x, scale_factor=4, mode='nearest'))


@pytest.mark.parametrize(('act_type', 'negative'), [('relu', 0.0), ('prelu', -0.25), ('leakyrelu', -0.1)])
def test_activations(act_type, negative):
    net = SRVGGNetCompact(num_feat=4, num_conv=1, act_type=act_type)
    assert net.body[1](torch.full((1, 4, 1, 1), -1.0))[0, 0].item() == pytest.approx(negative)


def test_an_unknown_activation_is_refused():
    with pytest.raises(UserError, match="not 'gelu'"):
        SRVGGNetCompact(act_type='gelu')
