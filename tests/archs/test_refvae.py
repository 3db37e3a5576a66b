"""RefVAE and its discriminator against numbers measured on the published classes."""

import copy
import json
import zlib

import numpy as np
import pytest
import torch
from torch import nn

from aesop.archs import build_network
from aesop.archs.refvae import RefVAE
from aesop.archs.vgg import VGGFeatures
from aesop.errors import UserError
from tests.golden import DATA, fill_, image

FULL_SIZE = json.loads((DATA / 'refvae/full_size_state_dicts.json').read_text())
TABLE = json.loads((DATA / 'refvae/networks.json').read_text())
WIDTH = {'small': {'num_feat': 64, 'num_latent': 32, 'vgg_width': 8}, 'full': {}}
R41 = ['relu1_1', 'relu1_2', 'relu2_1', 'relu2_2', 'relu3_1', 'relu3_2', 'relu3_3', 'relu3_4', 'relu4_1']


def noise(name, *shape):
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(np.prod(shape))
    return torch.from_numpy(values.reshape(shape).astype(np.float32))


@pytest.fixture(scope='module')
def arrays():
    with np.load(DATA / 'refvae/networks.npz') as file:
        return {name: torch.from_numpy(file[name]) for name in file}


@pytest.fixture(scope='module')
def vgg_r41(tmp_path_factory):
    """Files of the published encoder's names, filled: the full one and the narrow one."""
    folder, files = tmp_path_factory.mktemp('vgg'), {}
    for size, shapes in (
        ('full', FULL_SIZE['encoder4']['state_dict']),
        ('small', TABLE['small_state_dicts']['encoder4']),
    ):
        net = nn.Module()
        for name, shape in shapes.items():
            conv, kind = name.split('.')
            if not hasattr(net, conv):
                net.add_module(conv, nn.Module())
            getattr(net, conv).register_parameter(kind, nn.Parameter(torch.empty(shape)))
        files[size] = str(folder / f'{size}_r41.pth')
        torch.save(fill_(net).state_dict(), files[size])
    return files


def filled(vgg_r41, case):
    size, scale = case.split('_x')
    net = fill_(build_network({'type': 'RefVAE', 'scale': int(scale), 'vgg_weights': vgg_r41[size], **WIDTH[size]}))
    if size == 'full':
        with torch.no_grad():
            net.VAE_encoder[0].weight *= 0.1
    return net


def close(got, want, tolerance=1e-5):
    assert got.shape == want.shape
    assert (got - want).abs().max() <= tolerance * want.abs().max()


@pytest.mark.parametrize('case', ['small_x8', 'small_x4', 'full_x8'])
@torch.no_grad()
def test_outputs_are_the_published_ones(arrays, vgg_r41, case):
    net, row = filled(vgg_r41, case), TABLE[case]
    lq, ref = image(*row['lq']), image(*row['ref'], 0.7)
    want = {name.split('/')[1]: array for name, array in arrays.items() if name.startswith(f'{case}/')}

    enlarged, feature = net._enlarge(lq)
    close(enlarged, want['bicubic'])
    channels = feature.shape[1]
    close(feature[:, :: channels // 32], want['lq_r41'])
    close(net.vgg(ref)['relu4_1'][:, :: channels // 32, ::5, ::5], want['ref_r41'])
    latent = net.noise_shape[0]
    z = noise('z', len(lq), latent)
    close(net.VAE_decoder(z).view(-1, 64, 16, 16)[:, ::8, ::4, ::4], want['code_of_z'])
    for maps, name in zip(net.masks(feature), ('mask_mu', 'mask_var')):
        close(maps[:, :: maps.shape[1] // 8], want[name])

    output = net(lq, ref, noise('eps', len(lq), latent))
    for name in ('mu', 'logvar', 'sr'):
        close(output[name], want[name])
    close(net.decode(lq, z), want['sr_of_z'])
    kl = -0.5 * (1 + output['logvar'] - output['mu'] ** 2 - output['logvar'].exp()).sum()
    assert kl.item() == pytest.approx(row['kl'], rel=1e-5)


@pytest.mark.parametrize('size', ['small', 'full'])
@torch.no_grad()
def test_encoder_features(vgg_r41, arrays, size):
    vgg = VGGFeatures(R41, weights=vgg_r41[size], padding_mode='reflect', width=WIDTH[size].get('vgg_width', 64))
    for name, feature in vgg(arrays[f'{size}_x8/bicubic']).items():
        want = TABLE[f'{size}_x8'][f'lq_r{name[4]}{name[6]}']
        assert list(feature.shape) == want['shape']
        assert feature.mean().item() == pytest.approx(want['mean'], rel=1e-5)
        assert feature.double().std(unbiased=False).item() == pytest.approx(want['std'], rel=1e-4)


@torch.no_grad()
def test_training_mode_normalises_with_the_batch(arrays, vgg_r41):
    net = filled(vgg_r41, 'small_x8').train()
    mu, logvar = net.encode(image(*TABLE['small_x8']['ref'], 0.7))
    close(mu, arrays['small_x8_train/mu'], 1e-4)
    close(logvar, arrays['small_x8_train/logvar'], 1e-4)
    for name in ('1.running_mean', '1.running_var', '4.running_mean', '4.running_var'):
        close(net.state_dict()[f'init_feat.{name}'], arrays[f'small_x8_train/init_feat.{name}'])
    assert not net.vgg.training


@pytest.mark.parametrize('name', ['VAE_v3_8x', 'VAE_v3_4x'])
def test_full_size_state_dict_is_the_published_one(vgg_r41, name):
    net = build_network({'type': name, 'vgg_weights': vgg_r41['full']})
    want = FULL_SIZE[name]
    assert {key: list(tensor.shape) for key, tensor in net.state_dict().items()} == want['state_dict']
    assert sum(p.numel() for p in net.parameters()) == want['parameters']
    assert sum(b.numel() for b in net.vgg.buffers()) - 6 == FULL_SIZE['encoder4']['parameters']  # mean and std: 6


def test_the_small_classes_too(vgg_r41):
    net = filled(vgg_r41, 'small_x8')
    want = TABLE['small_state_dicts']['VAE_v3_8x']
    assert {key: list(tensor.shape) for key, tensor in net.state_dict().items()} == want


def test_the_frozen_encoder_goes_along(vgg_r41):
    net = filled(vgg_r41, 'small_x8')
    moved = copy.deepcopy(net).double()
    assert moved.vgg.convs['conv4_1'].weight.dtype == torch.float64
    assert not any(name.startswith('vgg') for name in (*net.state_dict(), *dict(net.named_parameters())))
    other = RefVAE(8, vgg_weights=vgg_r41['small'], **WIDTH['small']).eval()
    other.load_state_dict(net.state_dict(), strict=True)
    lq = image(1, 3, 4, 5)
    with torch.no_grad():
        assert torch.equal(other(lq)['sr'], net(lq)['sr'])
        assert moved(lq.double())['sr'].sub(net(lq)['sr']).abs().max() < 1e-4


@torch.no_grad()
def test_any_size_and_any_reference(vgg_r41):
    net = filled(vgg_r41, 'small_x4')
    for height, width in ((1, 3), (4, 4), (9, 7), (5, 12)):
        lq = image(1, 3, height, width)
        for ref in (image(1, 3, 256, 256), image(1, 1, 5, 300), image(1, 3, 2, 2), None):
            output = net(lq, ref)
            assert output['sr'].shape == (1, 3, 4 * height, 4 * width) and output['sr'].isfinite().all()
    grey = image(1, 1, 40, 40)
    assert torch.equal(net(lq, grey)['mu'], net(lq, grey.expand(-1, 3, -1, -1))['mu'])


def test_without_noise_the_code_is_its_mean_except_in_training(vgg_r41):
    net = filled(vgg_r41, 'small_x8')
    lq, ref = image(2, 3, 4, 4), image(2, 3, 64, 64, 0.7)
    with torch.no_grad():
        first = net(lq, ref)
        assert torch.equal(first['sr'], net(lq, ref)['sr'])
        assert torch.equal(first['sr'], net(lq, ref, torch.zeros(2, *net.noise_shape))['sr'])
        assert not torch.equal(first['sr'], net(lq, ref, torch.ones(2, *net.noise_shape))['sr'])
        net.train()
        torch.manual_seed(0)
        drawn = net(lq, ref)['sr']
        assert not torch.equal(drawn, net(lq, ref)['sr'])
        torch.manual_seed(0)
        assert torch.equal(drawn, net(lq, ref)['sr'])


def test_every_parameter_that_is_trained_gets_a_gradient(vgg_r41):
    net = filled(vgg_r41, 'small_x8').train()
    output = net(image(2, 3, 4, 4), image(2, 3, 64, 64, 0.7))
    (output['sr'].sum() + output['mu'].sum() + output['logvar'].sum()).backward()
    assert all((p.grad is not None) == p.requires_grad for p in net.parameters())
    frozen = [name for name, p in net.named_parameters() if not p.requires_grad]
    assert frozen == ['init_feat.0.bias', 'init_feat.3.bias', 'bn.weight', 'bn.bias']


@pytest.mark.parametrize(
    ('case', 'num_feat', 'shape'),
    [('small_d', 4, (2, 3, 64, 64)), ('small_d_odd', 4, (1, 3, 72, 56)), ('full_d', 32, (1, 3, 64, 64))],
)
@torch.no_grad()
def test_discriminator_outputs_are_the_published_ones(arrays, case, num_feat, shape):
    net = fill_(build_network({'type': 'MultiScaleDiscriminator', 'num_feat': num_feat}))
    output, row = net(image(*shape)), TABLE[case]
    close(output['logits'], arrays[f'{case}/prob'])
    features = torch.cat([feature.flatten(1) for scale in output['features'] for feature in scale], dim=1)
    assert list(features.shape) == row['feat_shape']
    close(features[:, :: row['feat_step']], arrays[f'{case}/feat'])
    assert features.double().abs().sum().item() == pytest.approx(row['feat_abs_sum'], rel=1e-6)


@torch.no_grad()
def test_full_size_discriminator():
    net = fill_(build_network({'type': 'discriminator_v2'}))
    want = FULL_SIZE['discriminator_v2']
    assert {key: list(tensor.shape) for key, tensor in net.state_dict().items()} == want['state_dict']
    assert sum(p.numel() for p in net.parameters()) == want['parameters']
    logits = net(image(1, 3, 256, 256))['logits']
    assert logits.shape == (1, 1344)
    assert logits.double().sum().item() == pytest.approx(TABLE['full_d_256']['prob_sum'], rel=1e-5)


def test_mistakes(vgg_r41):
    with pytest.raises(UserError, match='num_feat is 12; set it to a multiple of 8'):
        RefVAE(num_feat=12)
    with pytest.raises(UserError, match='are not those of vgg19'):
        RefVAE(vgg_weights=vgg_r41['small'])
    with pytest.raises(UserError, match='32x32 pixels is too small for 3 scales: set gt_size to 64'):
        build_network({'type': 'MultiScaleDiscriminator'})(image(1, 3, 32, 32))
    build_network({'type': 'MultiScaleDiscriminator', 'num_scales': 2})(image(1, 3, 32, 32))
