"""The VGG16 here is random: these tests are of the plumbing, and its scores mean nothing."""

from types import SimpleNamespace

import pytest
import torch
import torchvision

from aesop.errors import UserError
from aesop.metrics import build_metric
from aesop.utils.images import quantise


@pytest.fixture(scope='module')
def random_vgg(tmp_path_factory):
    torch.manual_seed(0)
    vgg = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs['D'])
    path = tmp_path_factory.mktemp('vgg') / 'vgg16.pth'
    torch.save({f'features.{k}': v for k, v in vgg.state_dict().items()}, path)
    return path


@pytest.fixture(scope='module')
def metric(random_vgg):
    return build_metric({'type': 'calculate_dists', 'backbone_weights': str(random_vgg)})


def test_torchmetrics_on_the_same_weights(metric, random_vgg, photograph, noisy, monkeypatch):
    from torchmetrics.functional.image import dists

    def local(weights):
        features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs['D'])
        saved = torch.load(random_vgg, weights_only=True)
        features.load_state_dict({key.removeprefix('features.'): tensor for key, tensor in saved.items()})
        return SimpleNamespace(features=features)

    monkeypatch.setattr(dists, 'vgg16', local)  # otherwise it downloads
    want = dists.deep_image_structure_and_texture_similarity(quantise(noisy)[None], quantise(photograph)[None])
    assert metric(noisy, photograph).item() == pytest.approx(want.item(), rel=1e-5, abs=2e-7)


def test_each_image_of_a_batch_has_its_score(metric, photograph, noisy):
    scores = metric(torch.stack([photograph, noisy]), torch.stack([photograph, photograph]))
    assert scores.shape == (2,) and not scores.requires_grad
    assert scores[0].item() == pytest.approx(0, abs=1e-6) and scores[1] > scores[0]
    assert scores[1].item() == pytest.approx(metric(noisy, photograph).item(), rel=1e-4)
    assert metric.higher_is_better is False


def test_alpha_and_beta_are_the_authors(metric):
    weights = metric.network.alpha.sum() + metric.network.beta.sum()
    assert (
        metric.network.alpha.std() > 0.02 * weights / metric.network.alpha.numel()
    )  # 0.1 +- 0.01 before they are read
    assert len(metric.protocol['backbone_sha256']) == 64 and metric.protocol['package'].startswith('torchmetrics')
    assert not any(parameter.requires_grad for parameter in metric.parameters())


def test_a_file_of_another_network(tmp_path):
    torch.save({'features.0.weight': torch.zeros(1)}, tmp_path / 'other.pth')
    with pytest.raises(UserError, match='other.pth" does not contain the weights of vgg16'):
        build_metric({'type': 'DISTS', 'backbone_weights': str(tmp_path / 'other.pth')})
