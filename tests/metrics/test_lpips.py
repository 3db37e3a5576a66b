import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision

from aesop.errors import UserError
from aesop.metrics import build_metric
from aesop.utils.images import quantise, read_image, to_tensor

WEIGHTS = Path(__file__).parents[2] / '../shared/weights'
needs_weights = pytest.mark.skipif(not WEIGHTS.is_dir(), reason='needs the pretrained AlexNet of ../shared/weights')


@pytest.fixture(scope='module')
def random_alexnet(tmp_path_factory):
    torch.manual_seed(0)
    features = torchvision.models.alexnet().features.state_dict()
    path = tmp_path_factory.mktemp('alexnet') / 'alexnet.pth'
    torch.save({f'features.{k}': v for k, v in features.items()}, path)
    return str(path)


@pytest.fixture(scope='module')
def metric(random_alexnet):
    return build_metric({'type': 'LPIPS', 'backbone_weights': random_alexnet})


@needs_weights
def test_the_values_its_authors_report():
    metric = build_metric({'type': 'calculate_lpips', 'backbone_weights': str(WEIGHTS / 'alexnet_features.pth')})
    reference, p0, p1 = (
        to_tensor(read_image(WEIGHTS / f'lpips_check_imgs/ex_{name}.png')) for name in ('ref', 'p0', 'p1')
    )
    scores = metric(torch.stack([p0, p1]), torch.stack([reference, reference]))
    assert [round(score, 3) for score in scores.tolist()] == [0.722, 0.138]


def test_direction_and_range(metric, photograph, noisy):
    assert metric.higher_is_better is False
    scores = metric(torch.stack([photograph, noisy]), torch.stack([photograph, photograph]))
    assert scores.shape == (2,) and scores[0] == 0 < scores[1]


def test_images_are_quantised_and_cropped(metric, random_alexnet, photograph, noisy):
    assert metric(photograph + 0.4 / 255, photograph).item() == 0
    cropped = build_metric({'type': 'LPIPS', 'backbone_weights': random_alexnet, 'crop_border': 16})
    inner = [x[:, 16:-16, 16:-16] for x in (noisy, photograph)]
    assert cropped(noisy, photograph).item() == pytest.approx(metric(*inner).item(), rel=1e-5)


def test_ground_truths_that_come_again_are_kept(random_alexnet, photograph, noisy, monkeypatch):
    """From the second time on: a test run keeps nothing. And the scores are those of the package."""
    metric = build_metric({'type': 'LPIPS', 'backbone_weights': random_alexnet})
    calls = []
    metric.network.net.register_forward_hook(lambda *_: calls.append(1))
    first = metric(noisy, photograph)
    with torch.no_grad():
        gt, sr = (2 * quantise(x)[None] - 1 for x in (photograph, noisy))
        assert first.item() == pytest.approx(metric.network(sr, gt).item(), rel=1e-6)
    assert not metric._kept
    metric(noisy, photograph)
    calls.clear()
    assert torch.equal(metric(noisy, photograph.clone()), first) and len(calls) == 1
    calls.clear()
    assert metric(photograph, noisy) > 0 and len(calls) == 2
    monkeypatch.setattr(metric, '_left', 0)
    calls.clear()
    for _ in 'abc':
        metric(photograph, photograph.flip(1))
    assert len(calls) == 6  # no memory is left for it


def test_protocol_names_the_weights(metric, random_alexnet):
    protocol = metric.protocol
    assert protocol['backbone'] == 'alexnet' and protocol['package'].startswith('lpips 0.1')
    again = build_metric({'type': 'LPIPS', 'backbone_weights': random_alexnet})
    assert again.protocol == protocol and len(protocol['backbone_sha256']) == 64
    assert not any(p.requires_grad for p in metric.parameters())


def test_squeezenet(tmp_path, photograph, noisy):
    features = torchvision.models.squeezenet1_1().features.state_dict()
    torch.save({f'features.{k}': v for k, v in features.items()}, tmp_path / 'squeezenet.pth')
    metric = build_metric({'type': 'LPIPS', 'net': 'squeeze', 'backbone_weights': str(tmp_path / 'squeezenet.pth')})
    loaded = {name.split('.', 1)[1]: tensor for name, tensor in metric.network.net.state_dict().items()}
    assert loaded.keys() == features.keys() and all(torch.equal(loaded[k], features[k]) for k in loaded)
    assert metric(noisy, photograph).item() > metric(photograph, photograph).item() == 0


def test_it_stays_on_rgb(random_alexnet, caplog):
    block = {'type': 'calculate_lpips_pytorch', 'backbone_weights': random_alexnet, 'test_y_channel': True}
    with caplog.at_level(logging.WARNING):
        assert build_metric(block).protocol['colour'] == 'RGB'
    assert 'test_y_channel has no effect' in caplog.text


def test_mistakes(random_alexnet):
    with pytest.raises(UserError, match='net: unknown value "alexnet"'):
        build_metric({'type': 'LPIPS', 'net': 'alexnet', 'backbone_weights': random_alexnet})
    with pytest.raises(UserError, match='alexnet.pth" is not a file of squeezenet1_1'):
        build_metric({'type': 'LPIPS', 'net': 'squeeze', 'backbone_weights': random_alexnet})


def test_the_package_is_loaded_only_when_needed():
    code = 'import sys, aesop.metrics as m; m.build_metric({"type": "PSNR"}); sys.exit("lpips" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], cwd=Path(__file__).parents[2]).returncode == 0
