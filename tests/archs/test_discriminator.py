import pytest
import torch

from aesop.archs import build_network
from aesop.archs.discriminator import Discriminator_PatchGAN, UNetDiscriminatorSN, VGGStyleDiscriminator
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


def test_the_unet_gives_a_logit_for_every_pixel_of_any_size():
    net = fill_(UNetDiscriminatorSN(num_feat=4))
    assert net(image(2, 3, 21, 30)).shape == (2, 1, 21, 30)


def test_the_unet_without_skips_is_another_function_of_the_same_weights():
    x = image(1, 3, 16, 16)
    nets = [fill_(UNetDiscriminatorSN(num_feat=4, skip_connection=skip)) for skip in (True, False)]
    assert nets[0].state_dict().keys() == nets[1].state_dict().keys()
    assert (nets[0](x) - nets[1](x)).abs().max() > 1e-3


@pytest.mark.parametrize('build', [UNetDiscriminatorSN, Discriminator_PatchGAN])
def test_spectral_normalisation_brings_the_largest_singular_value_to_one(build):
    torch.manual_seed(0)
    net = build(3, 4).train()
    with torch.no_grad():
        for _ in range(60):  # power iterations
            net(image(1, 3, 32, 32))
    normalised = [layer.normalised() for layer in net.modules() if hasattr(layer, 'weight_orig')]
    assert len(normalised) == {UNetDiscriminatorSN: 8, Discriminator_PatchGAN: 5}[build]
    for weight in normalised:
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(('n_layers', 'field'), [(1, 16), (2, 34), (3, 70)])
def test_a_patchgan_logit_sees_a_patch(n_layers, field):
    net = fill_(Discriminator_PatchGAN(ndf=2, n_layers=n_layers))
    x = image(1, 3, 160, 160).requires_grad_()
    logits = net(x)
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    seen = x.grad.abs().sum(dim=(0, 1)).nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [field, field]


def test_patchgan_widths():
    net = Discriminator_PatchGAN(ndf=8, n_layers=5, norm_type='batch')
    assert [layer.out_channels for layer in net.model if hasattr(layer, 'stride')] == [8, 16, 32, 64, 64, 64, 1]


@pytest.mark.parametrize(
    ('norm_type', 'spectral', 'batch', 'instance'),
    [('spectral', 5, 0, 0), ('batch', 0, 3, 0), ('instance', 0, 0, 3), ('batchspectral', 5, 3, 0)],
)
def test_patchgan_normalisations(norm_type, spectral, batch, instance):
    net = Discriminator_PatchGAN(ndf=2, norm_type=norm_type)
    kinds = [type(layer).__name__ for layer in net.model]
    assert sum(name.endswith('weight_orig') for name in net.state_dict()) == spectral
    assert kinds.count('BatchNorm2d') == batch
    assert kinds.count('InstanceNorm2d') == instance
    assert net(image(2, 3, 64, 48)).shape == (2, 1, 6, 4)


def test_an_unknown_normalisation_is_refused():
    with pytest.raises(UserError, match="not 'group'"):
        Discriminator_PatchGAN(norm_type='group')
