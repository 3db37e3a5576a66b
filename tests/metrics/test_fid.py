"""The Inception here is random: these tests are of the plumbing, and its distances mean nothing."""

import pytest
import torch
from torch import nn

from aesop.errors import UserError
from aesop.metrics import build_metric, fid
from aesop.utils.images import to_uint8


class TinyInception(nn.Module):
    """Takes what the Inception of FID takes, and gives 8 features in place of 2048."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Linear(3 * 4 * 4, 8)

    def forward(self, images):
        assert images.dtype == torch.uint8
        return self.features(nn.functional.adaptive_avg_pool2d(images / 255, 4).flatten(1))


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(fid, 'inception_network', lambda weights: TinyInception())


@pytest.fixture
def sets(photograph, noisy):
    """12 images and as many ground truths, of two sizes."""
    parts = [(slice(top, top + 32), slice(left, left + 40)) for top in (0, 20, 40) for left in (0, 25, 50, 75)]
    return [[image[:, rows, columns] for rows, columns in parts] for image in (noisy, photograph)]


@pytest.mark.usefixtures('tiny')
def test_torchmetrics_on_the_same_network(sets):
    from torchmetrics.image.fid import FrechetInceptionDistance

    theirs = FrechetInceptionDistance(TinyInception())
    for images, real in zip(sets, (False, True)):
        theirs.update(torch.stack([torch.from_numpy(to_uint8(x)).permute(2, 0, 1) for x in images]), real=real)
    metric = build_metric({'type': 'FID'})
    parts = [part for sr, gt in zip(*sets) for part in metric(sr, gt)]
    assert [part.shape for part in parts] == [(2, 1, 8)] * 12
    assert metric.summary(parts) == pytest.approx(theirs.compute().item(), rel=1e-3)  # theirs ends in float32
    assert (
        metric.summary(parts) > 0 == pytest.approx(metric.summary([p[1:].expand(2, -1, -1) for p in parts]), abs=1e-9)
    )


@pytest.mark.usefixtures('tiny')
def test_the_definition(sets):
    """|mu - mu'|^2 + tr(S + S' - 2 (S S')^(1/2)), here by SciPy's matrix square root."""
    import numpy as np
    from scipy.linalg import sqrtm

    metric = build_metric({'type': 'FID'})
    parts = [part for sr, gt in zip(*sets) for part in metric(sr, gt)]
    a, b = (features.double().numpy() for features in torch.cat(parts, 1))
    covariances = [np.cov(x, rowvar=False) for x in (a, b)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    want = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(sum(covariances) - 2 * root)
    assert metric.summary(parts) == pytest.approx(want, rel=1e-4)


@pytest.mark.usefixtures('tiny')
def test_a_batch_is_its_images(sets):
    metric = build_metric({'type': 'FID', 'crop_border': 2})
    together = metric(torch.stack(sets[0]), torch.stack(sets[1]))
    alone = [part for sr, gt in zip(*sets) for part in metric(sr, gt)]
    assert torch.allclose(torch.stack(together), torch.stack(alone), atol=1e-6)
    assert metric.per_image is False and metric.higher_is_better is False


def test_patches_by_hand():
    image = torch.arange(2 * 3 * 610 * 320).view(2, 3, 610, 320)
    cut = fid.patches(image)
    assert cut.shape == (2, 2, 3, 299, 299)
    assert torch.equal(cut[1, 0], image[1, :, :299, :299]) and torch.equal(cut[0, 1], image[0, :, 299:598, :299])


def test_small_images_are_padded_with_zeros():
    image = torch.rand(1, 3, 100, 700)
    first, second = fid.patches(image)[0]
    assert torch.equal(first[:, :100], image[0, :, :, :299]) and torch.equal(second[:, :100], image[0, :, :, 299:598])
    assert first[:, 100:].abs().sum() == 0


@pytest.mark.usefixtures('tiny')
def test_every_patch_is_a_sample(photograph, noisy):
    metric = build_metric({'type': 'PatchFID'})
    large = [nn.functional.interpolate(x[None], size=(600, 900)) for x in (noisy, photograph)]
    (part,) = metric(*large)
    assert part.shape == (2, 6, 8) and metric.summary([part]) > 0
    corner = [torch.from_numpy(to_uint8(x[0, :, 299:598, 598:897])).permute(2, 0, 1)[None] for x in large]
    assert torch.allclose(part[:, 5], torch.cat([metric.network(x) for x in corner]), atol=1e-6)


@pytest.mark.usefixtures('tiny')
def test_one_sample_has_no_distribution(photograph, noisy):
    metric = build_metric({'type': 'FID'})
    with pytest.raises(UserError, match='FID needs at least 2 samples .whole images, .* got 1'):
        metric.summary(metric(noisy, photograph))


def test_the_network_takes_its_weights_from_a_file_without_running_it(tmp_path, monkeypatch):
    class Stub(nn.Module):
        def __init__(self, name, features, file, antialias):
            super().__init__()
            self.state = torch.load(file, weights_only=True)
            assert features == ['2048'] and antialias is False

    monkeypatch.setattr('torchmetrics.image.fid.NoTrainInceptionV3', Stub)
    torch.save({'fc.weight': torch.ones(2)}, tmp_path / 'pt_inception-2015-12-05-6726825d.pth')
    monkeypatch.setenv('AESOP_WEIGHTS', str(tmp_path))
    assert fid.inception_network('imagenet').state['fc.weight'].tolist() == [1, 1]
    torch.save({'fc.weight': print}, tmp_path / 'bad.pth')
    with pytest.raises(UserError, match='could run code'):
        fid.inception_network(str(tmp_path / 'bad.pth'))
