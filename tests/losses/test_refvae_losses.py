"""RefVAE's losses against numbers measured on the published code (tests/data/refvae/losses.json)."""

import json
import zlib

import numpy as np
import pytest
import torch
import torchvision

from aesop.errors import UserError
from aesop.losses import build_loss
from aesop.losses.reduced import reduce_size
from aesop.losses.statistics import channel_statistics
from tests.golden import DATA, fill_, image

TABLE = json.loads((DATA / 'refvae/losses.json').read_text())


def noise(name, *shape):
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(np.prod(shape))
    return torch.from_numpy(values.reshape(shape).astype(np.float32))


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Files of VGG-19 and AlexNet features under deterministic weights."""
    folder, files = tmp_path_factory.mktemp('weights'), {}
    for name in ('vgg19', 'alexnet'):
        with torch.device('meta'):
            features = getattr(torchvision.models, name)().features
        files[name] = str(folder / f'{name}.pth')
        torch.save(fill_(torch.nn.ModuleDict({'features': features.to_empty(device='cpu')})).state_dict(), files[name])
    return files


@pytest.fixture
def matches():
    def check(name, loss, sr):
        (grad,) = torch.autograd.grad(loss, sr)
        want, grad = TABLE[name], grad.double()
        assert loss.item() == pytest.approx(want['value'], rel=1e-5)
        assert grad.norm().item() == pytest.approx(want['grad_norm'], rel=1e-5)
        assert grad.sum().item() == pytest.approx(want['grad_sum'], rel=1e-5, abs=1e-4 * want['grad_norm'])

    return check


@pytest.mark.parametrize(
    ('name', 'block'),
    [
        ('L1_sum', {'type': 'L1Loss'}),
        ('SR_L1 (sizes 1, 1/2, 1/4)', {'type': 'MultiSizeL1Loss', 'antialias': False}),
        ('TVLoss', {'type': 'SquaredTVLoss', 'loss_weight': 2}),
    ],
)
def test_losses_of_pixels(pair, matches, name, block):
    sr, gt = pair
    loss = build_loss(block | {'reduction': 'sum'})
    matches(name, loss(sr) if name == 'TVLoss' else loss(sr, gt), sr)


def test_lr_consistency(pair, matches):
    sr, lq = pair[0], image(2, 3, 8, 8, 0)
    block = {'type': 'LRConsistencyLoss', 'reduction': 'sum'}
    matches('LR_loss x8', build_loss(block | {'antialias': False})(sr, lq), sr)
    down, want = reduce_size(sr.detach(), 8, antialias=False), TABLE['bicubic_down_8']
    assert down.double().sum().item() == pytest.approx(want['sum'], rel=1e-6)
    assert down.flatten()[:8].tolist() == pytest.approx(want['first'], abs=1e-6)


def test_the_antialiased_reduction_is_the_one_that_lr_images_are_made_by():
    from aesop.data import imresize

    gt = image(1, 3, 96, 96)
    lq = imresize(gt, 1 / 8)
    inner = [(reduce_size(gt, 8, antialias=aa) - lq)[..., 2:-2, 2:-2].abs().max().item() for aa in (True, False)]
    assert inner[0] < 1e-5 < 0.02 < inner[1]
    assert build_loss({'type': 'LRConsistencyLoss'})(gt, lq) < 0.01


def test_content(exact_pair, matches, weights):
    sr, gt = exact_pair
    block = {'type': 'PerceptualLoss', 'layer_weights': {'relu4_1': 1}, 'vgg_weights': weights['vgg19']}
    matches('ContentLoss', build_loss(block | {'reduction': 'sum'}).double()(sr, gt)['percep'], sr)
    mean = build_loss(block).double()(sr, gt)['percep'].item()
    assert mean == pytest.approx(TABLE['ContentLoss']['value'] / (2 * 512 * 8 * 8), rel=1e-5)


def test_statistics(exact_pair, matches, weights):
    sr, gt = exact_pair
    block = {'type': 'StatisticsLoss', 'reduction': 'sum', 'vgg_weights': weights['vgg19']}
    matches('StyleLoss', build_loss(block).double()(sr, gt), sr)
    for name, row in TABLE['style_per_layer'].items():
        loss = build_loss(block | {'layers': [name]}).double()
        assert loss(sr, gt).item() == pytest.approx(row['mean_l1_sum'] + row['std_l1_sum'], rel=1e-5)
    assert build_loss(block)(sr.float(), image(2, 3, 40, 24)).isfinite()  # a reference has a size of its own


def test_channel_statistics():
    mean, deviation = channel_statistics(image(2, 4, 9, 7, 0.3))
    want = TABLE['calc_mean_std']
    assert mean.flatten().tolist() == pytest.approx(want['mean'], rel=1e-6)
    assert deviation.flatten().tolist() == pytest.approx(want['std'], rel=1e-5)


def test_kl():
    mu, logvar = noise('mu', 2, 256), noise('logvar', 2, 256)
    value = TABLE['KL']['value']
    assert build_loss({'type': 'KLLoss'})(mu, logvar).item() == pytest.approx(value, rel=1e-6)
    for reduction, count in (('batchmean', 2), ('mean', 512)):
        block = {'type': 'KLLoss', 'loss_weight': 3, 'reduction': reduction}
        assert build_loss(block)(mu, logvar).item() == pytest.approx(3 * value / count, rel=1e-6)
    zero = torch.zeros(2, 256)
    assert build_loss({'type': 'KLLoss'})(zero, zero) == 0
    assert build_loss({'type': 'KLLoss'})(zero.half(), zero.half() + 12).isfinite()  # exp(12) is beyond float16


def test_lpips(pair, matches, weights):
    sr, gt = pair
    block = {'type': 'LPIPSLoss', 'spatial': True, 'backbone_weights': weights['alexnet']}
    loss = build_loss(block).train()
    matches('lpips_sp_mean', loss(sr, gt), sr)
    assert not any(module.training for module in loss.network.modules())
    plain = build_loss(block | {'spatial': False, 'loss_weight': 2})(sr, gt).item() / 2
    assert plain != loss(sr, gt).item() == pytest.approx(plain, rel=0.02)


def test_feature_matching():
    fake = [[image(1, 2, 4, 4, phase).requires_grad_() for phase in (0.1, 0.2)], [image(1, 1, 2, 2, 0.3)]]
    real = [[image(1, 2, 4, 4, phase) for phase in (0.5, 0.6)], [image(1, 1, 2, 2, 0.7)]]
    pairs = [(f, r) for f_scale, r_scale in zip(fake, real) for f, r in zip(f_scale, r_scale)]
    for reduction in ('mean', 'sum'):
        loss = build_loss({'type': 'GANFeatLoss', 'reduction': reduction, 'loss_weight': 0.5})
        want = 0.5 * sum(getattr((f - r).abs(), reduction)() for f, r in pairs) / (3 if reduction == 'mean' else 1)
        torch.testing.assert_close(loss(fake, real), want)
        torch.testing.assert_close(loss([f for f, _ in pairs], [r for _, r in pairs]), want)  # a flat list


def test_unknown_reductions_are_told():
    with pytest.raises(UserError, match='reduction: unknown value "sun"; choose from sum, batchmean, mean'):
        build_loss({'type': 'KLLoss', 'reduction': 'sun'})
