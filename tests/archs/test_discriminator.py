import pytest

from aesop.archs import build_network
from aesop.archs.discriminator import VGGStyleDiscriminator
from aesop.errors import UserError
from tests.golden import fill_, image


@pytest.mark.parametrize(('input_size', 'stages', 'linear'), [(64, 4, 4), (128, 5, 4), (192, 6, 3), (256, 6, 4)])
def test_stages_end_at_three_or_four_pixels(input_size, stages, linear):
    net = fill_(VGGStyleDiscriminator(num_feat=4, input_size=input_size))
    assert f'conv{stages - 1}_1.weight' in net.state_dict()
    assert f'conv{stages}_0.weight' not in net.state_dict()
    assert net.linear1.in_features == 32 * linear**2
    assert net(image(2, 3, input_size, input_size)).shape == (2, 1)


@pytest.mark.parametrize('size', [128, 192, 256])
def test_published_names_fix_the_size(size):
    net = build_network({'type': f'VGGStyleDiscriminator{size}', 'num_in_ch': 3, 'num_feat': 4})
    assert net.input_size == size
    assert isinstance(net, VGGStyleDiscriminator)


def test_only_the_first_convolution_has_a_bias():
    state = VGGStyleDiscriminator(num_feat=4, input_size=64).state_dict()
    assert [name for name in state if name.startswith('conv') and name.endswith('bias')] == ['conv0_0.bias']


def test_an_image_of_another_size_is_refused():
    net = VGGStyleDiscriminator(num_feat=4, input_size=64)
    with pytest.raises(UserError, match='built for 64x64 images and got 64x48.*gt_size'):
        net(image(1, 3, 64, 48))


@pytest.mark.parametrize('input_size', [4, 100, 130])
def test_a_size_that_does_not_halve_to_the_end_is_refused(input_size):
    with pytest.raises(UserError, match=f'not {input_size}'):
        VGGStyleDiscriminator(input_size=input_size)
