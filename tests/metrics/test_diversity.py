"""The diversity score against the challenge's own functions (tests/data/refvae/diversity.json)."""

import json

import pytest
import torch
import torchvision

from aesop.data import imresize
from aesop.errors import UserError
from aesop.metrics import build_metric
from aesop.utils.images import quantise
from tests.golden import DATA, fill_, image

TABLE = json.loads((DATA / 'refvae/diversity.json').read_text())


@pytest.fixture(scope='module')
def alexnet(tmp_path_factory):
    with torch.device('meta'):
        features = torchvision.models.alexnet().features
    path = tmp_path_factory.mktemp('weights') / 'alexnet.pth'
    torch.save(fill_(torch.nn.ModuleDict({'features': features.to_empty(device='cpu')})).state_dict(), path)
    return str(path)


@pytest.fixture(scope='module')
def metric(alexnet):
    return build_metric({'type': 'DiversityScore', 'backbone_weights': alexnet})


@pytest.fixture(scope='module')
def gt():
    return quantise(image(1, 3, 83, 74, 0))


@pytest.fixture(scope='module')
def samples():
    """(1, 4, 3, 83, 74): sample k is best in every fourth band of 18 columns."""
    band = (torch.arange(74) // 18) % 4
    own = image(1, 3, 83, 74, 0.1)
    return quantise(
        torch.stack([torch.where(band == k, own, image(1, 3, 83, 74, 0.5 + 0.05 * k)) for k in range(4)], dim=1)
    )


def test_the_score_and_its_parts(metric, samples, gt):
    maps = torch.stack([metric.map(samples[:, k], gt) for k in range(4)], dim=1)
    assert [1, *maps.shape[2:]] == [TABLE['map_shape'][0], *TABLE['map_shape'][2:]]
    torch.testing.assert_close(maps[0, 0, :3, :3], torch.tensor(TABLE['map_0_corner']), rtol=1e-4, atol=1e-7)
    assert maps.mean((2, 3))[0].tolist() == pytest.approx(TABLE['lpips_of_each'], rel=1e-5)
    assert maps.mean((2, 3)).amin(1).item() == pytest.approx(TABLE['global_best'], rel=1e-5)
    assert maps.amin(1).mean().item() == pytest.approx(TABLE['local_best'], rel=1e-5)
    assert maps[0].argmin(0).flatten().bincount().tolist() == TABLE['which_is_best_counts']
    assert metric.score(samples, gt).item() == pytest.approx(TABLE['x4']['score'], rel=1e-4)


def test_solutions_that_are_the_same_have_none(metric, samples, gt):
    same = samples[:, :1].expand(-1, 3, -1, -1, -1)
    assert metric.score(same, gt).item() == 0
    assert metric.score(torch.cat([same, samples[:, 1:2]], dim=1), gt).item() > 0
    assert metric.score(gt[:, None].expand(-1, 2, -1, -1, -1), gt).item() == 0  # perfect, and nothing to divide by


def test_images_of_a_batch_are_scored_alone(metric, samples, gt):
    other = samples.flip(-1)
    both = metric.score(torch.cat([samples, other]), torch.cat([gt, gt]))
    alone = torch.cat([metric.score(samples, gt), metric.score(other, gt)])
    torch.testing.assert_close(both, alone)


@pytest.mark.parametrize('scale', [4, 8])
def test_lr_psnr_of_the_challenge(samples, gt, scale):
    """Our 8-bit `imresize` gives the challenge's LR-PSNR: of images cut to multiples of 8, in colour, all at 8 bits."""

    def reduced(x):
        return imresize((255 * x[..., :80, :72]).round().to(torch.uint8), 1 / scale).double()

    errors = [(reduced(samples[:, k]) - reduced(gt)).square().mean() for k in range(4)]
    values = [10 * torch.log10(255**2 / error).item() for error in errors]
    want = TABLE[f'x{scale}']
    assert min(values) == pytest.approx(want['LRPSNR_worst'], abs=2e-4)
    assert sum(values) / 4 == pytest.approx(want['LRPSNR_mean'], abs=2e-4)


def test_a_single_solution_is_told(metric, samples, gt):
    with pytest.raises(UserError, match='set val.solutions to 2 or more'):
        metric.score(samples[:, :1], gt)


def test_its_row_in_a_protocol(metric):
    assert metric.protocol['metric'] == 'DiversityScore' and metric.protocol['backbone'] == 'alexnet'
    assert metric.higher_is_better and len(metric.protocol['backbone_sha256']) == 64
