import pytest
import torch
from torch import nn

from aesop.archs import build_network
from aesop.archs.discriminator import Discriminator_PatchGAN, UNetDiscriminatorSN, VGGStyleDiscriminator
from aesop.errors import UserError
from aesop.utils import checkpoint
from tests.golden import fill_, image


@pytest.mark.parametrize(('input_size', 'stages', 'linear'), [(64, 4, 4), (128, 5, 4), (192, 5, 6), (256, 6, 4)])
def test_stages_end_at_four_to_seven_pixels(input_size, stages, linear):
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
    with pytest.raises(UserError, match='expects 64x64 images, got 64x48.*gt_size'):
        net(image(1, 3, 64, 48))


@pytest.mark.parametrize('input_size', [3, 100, 130])
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
    assert [child[0].out_channels for child in net.model] == [8, 16, 32, 64, 128, 256, 1]
    assert [child[0].out_channels for child in Discriminator_PatchGAN(n_layers=4).model] == [64, 128, 256, 512, 512, 1]


def test_patchgan_has_the_published_names():
    shapes = {name: list(t.shape) for name, t in Discriminator_PatchGAN(ndf=4, norm_type='batch').state_dict().items()}
    assert shapes['model.child0.0.weight'] == [4, 3, 4, 4]
    assert shapes['model.child3.1.running_mean'] == [32]
    assert shapes['model.child4.0.weight'] == [1, 32, 4, 4]


def test_192_is_basicsrs():
    state = build_network({'type': 'VGGStyleDiscriminator192', 'num_in_ch': 3, 'num_feat': 16}).state_dict()
    assert list(state['linear1.weight'].shape) == [100, 4608]
    assert 'conv4_1.weight' in state and 'conv5_0.weight' not in state


@pytest.mark.parametrize(
    ('norm_type', 'spectral', 'batch', 'instance'),
    [('spectral', 5, 0, 0), ('batch', 0, 3, 0), ('instance', 0, 0, 3), ('batchspectral', 5, 3, 0)],
)
def test_patchgan_normalisations(norm_type, spectral, batch, instance):
    net = Discriminator_PatchGAN(ndf=2, norm_type=norm_type)
    kinds = [type(layer).__name__ for child in net.model for layer in child]
    assert sum(name.endswith('weight_orig') for name in net.state_dict()) == spectral
    assert kinds.count('BatchNorm2d') == batch
    assert kinds.count('InstanceNorm2d') == instance
    assert net(image(2, 3, 64, 48)).shape == (2, 1, 11, 9)


def test_an_unknown_normalisation_is_refused():
    with pytest.raises(UserError, match="not 'group'"):
        Discriminator_PatchGAN(norm_type='group')


class FirstDiscriminator(nn.Module):
    """The discriminator in ESRGAN's and SPSR's first files: all layers in one Sequential, a bias in each."""

    def __init__(self, num_feat):
        super().__init__()
        layers, channels = [], 3
        for stage in range(5):
            width = num_feat * min(2**stage, 8)
            for kernel, stride in ((3, 1), (4, 2)):
                layers.append(nn.Conv2d(channels, width, kernel, stride, 1))
                if len(layers) > 1:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.LeakyReLU(0.2))
                channels = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Linear(channels * 16, 100), nn.LeakyReLU(0.2), nn.Linear(100, 1))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


@pytest.mark.parametrize('training', [False, True])
def test_the_first_files_give_the_same_logits(training, tmp_path):
    torch.manual_seed(0)
    first, net = FirstDiscriminator(8), build_network({'type': 'VGGStyleDiscriminator128', 'num_feat': 8})
    for norm in [layer for layer in first.features if isinstance(layer, nn.BatchNorm2d)]:
        nn.init.normal_(norm.running_mean, std=0.1)
        nn.init.uniform_(norm.running_var, 0.5, 1.5)
    torch.save(first.state_dict(), tmp_path / 'd.pth')
    checkpoint.load_network(net, tmp_path / 'd.pth')
    x = image(2, 3, 128, 128)
    torch.testing.assert_close(net.train(training)(x), first.train(training)(x), rtol=1e-4, atol=1e-5)
