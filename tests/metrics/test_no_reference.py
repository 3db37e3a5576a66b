"""pyiqa is an extra and its weights are a download: a stand-in shows what is asked of it."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from aesop.errors import Unavailable, UserError
from aesop.metrics import build_metric, no_reference


class Brightness(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.name = name
        self.register_buffer('weight', torch.ones(1))

    def forward(self, images):
        assert images.shape[1] == 3 and images.min() >= 0 and images.max() <= 1
        if min(images.shape[-2:]) < 30:
            raise AssertionError('blocks do not fit')
        return images.mean((1, 2, 3))[:, None]


@pytest.fixture
def pyiqa(monkeypatch):
    def create_metric(name, device):
        sys.stdout.write('Loading')  # as the package does
        return Brightness(name)

    monkeypatch.setitem(sys.modules, 'pyiqa', SimpleNamespace(create_metric=create_metric))
    monkeypatch.setattr(no_reference, 'version', lambda package: '0.1')


@pytest.mark.usefixtures('pyiqa')
@pytest.mark.parametrize(
    ('name', 'model', 'higher'),
    [
        ('calculate_niqe', 'niqe', False),
        ('calculate_maniqa_pytorch', 'maniqa', True),
        ('calculate_musiq_pytorch', 'musiq', True),
        ('calculate_clipiqa_resnet_pytorch', 'clipiqa', True),
    ],
)
def test_published_names(name, model, higher, capsys):
    metric = build_metric({'type': name})
    assert metric.network.name == model and metric.higher_is_better is higher
    assert metric.needs == ('sr',)
    assert metric.protocol['package'] == f'pyiqa 0.1, {model}'
    assert capsys.readouterr().out == ''  # a program's output is not the place for that


@pytest.mark.usefixtures('pyiqa')
def test_scores_and_quadrants(photograph, noisy):
    images = torch.stack([photograph, noisy])
    scores = build_metric({'type': 'CLIPIQA'})(images)
    assert scores.shape == (2,) and scores[0].item() == pytest.approx(photograph.mean().item(), abs=1e-3)
    quarters = build_metric({'type': 'CLIPIQA', 'quadrants': True})
    odd = images[..., :95, :119]  # quarters differ in size, and count alike
    h, w = 48, 60
    parts = [odd[..., rows, columns] for rows in (slice(h), slice(h, None)) for columns in (slice(w), slice(w, None))]
    want = torch.stack([part.mean((1, 2, 3)) for part in parts]).mean(0)
    assert quarters(odd).tolist() == pytest.approx(want.tolist(), abs=1e-3)
    assert quarters.protocol['parts'] == 'mean over four quadrants'


@pytest.mark.usefixtures('pyiqa')
def test_what_the_package_cannot_measure_is_told(photograph):
    with pytest.raises(UserError, match='MUSIQ could not measure the image: blocks do not fit'):
        build_metric({'type': 'MUSIQ'})(photograph[:, :20])
    with pytest.raises(UserError, match='NIQE needs at least 192x192 pixels'):
        build_metric({'type': 'NIQE'})(photograph)


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyiqa', None)
    with pytest.raises(Unavailable, match=r'pip install "aesop-sr\[iqa\]"; its licence covers non-commercial use only'):
        build_metric({'type': 'NIQE'})


@pytest.mark.usefixtures('pyiqa')
def test_without_its_weights(monkeypatch):
    def create_metric(name, device):
        raise OSError('Name or service not known\nmore')

    monkeypatch.setattr(sys.modules['pyiqa'], 'create_metric', create_metric)
    with pytest.raises(
        Unavailable, match=r'weights for musiq could not be loaded \(OSError: Name .* known\): run once'
    ):
        build_metric({'type': 'MUSIQ'})


@pytest.mark.usefixtures('pyiqa')
def test_the_protocol_names_all_weights(monkeypatch):
    class Hidden(Brightness):
        def __init__(self, name):
            super().__init__(name)
            self.net = SimpleNamespace(mean=torch.ones(2), clip=[nn.Linear(2, 2)], size=[7])

    def create_metric(name, device):
        torch.manual_seed(0)
        return Hidden(name)

    monkeypatch.setattr(sys.modules['pyiqa'], 'create_metric', create_metric)
    network = create_metric('niqe', 'cpu')
    assert no_reference.unregistered(network).keys() == {'mean', 'clip.weight', 'clip.bias'}
    protocol = build_metric({'type': 'NIQE'}).protocol
    assert protocol['weights_sha256'] == no_reference.weights_sha256(network, **no_reference.unregistered(network))
    assert protocol['weights_sha256'] != no_reference.weights_sha256(network)
    assert protocol['colour'] == 'Y (YIQ)'


def test_the_weights_of_a_local_folder_are_used(tmp_path, monkeypatch):
    before = torch.hub.get_dir()
    monkeypatch.setenv('AESOP_WEIGHTS', str(tmp_path))
    with no_reference._pyiqa_folder():
        assert torch.hub.get_dir() == before  # there is nothing of pyiqa's
    (tmp_path / 'pyiqa').mkdir()
    with no_reference._pyiqa_folder():
        assert torch.hub.get_dir() == str(tmp_path)
    assert torch.hub.get_dir() == before


class Any(Brightness):
    """As pyiqa describes its metrics."""

    def __init__(self, name):
        super().__init__(name)
        if name not in ('topiq_nr', 'topiq_fr', 'fid'):
            raise KeyError(name)
        self.metric_mode = 'NR' if name.endswith('nr') else 'FR'
        self.lower_better = name == 'topiq_fr'

    def forward(self, images, references=None):
        assert (references is None) == (self.metric_mode == 'NR')
        return super().forward(images if references is None else (images - references).abs())


@pytest.mark.usefixtures('pyiqa')
def test_any_metric_of_the_package(photograph, noisy, monkeypatch):
    monkeypatch.setattr(sys.modules['pyiqa'], 'create_metric', lambda name, device: Any(name))
    without = build_metric({'type': 'PyIQA', 'metric': 'topiq_nr'})
    assert without(photograph).item() == pytest.approx(photograph.mean().item(), abs=1e-3)
    assert without.needs == ('sr',) and without.higher_is_better and without.protocol['reference'] == 'none'
    compared = build_metric({'type': 'PyIQA', 'metric': 'topiq_fr'})
    assert compared.needs == ('sr', 'gt') and not compared.higher_is_better
    assert 0 < compared(noisy, photograph).item() < 0.1
    assert compared.protocol['package'] == 'pyiqa 0.1, topiq_fr'
    assert build_metric({'type': 'PyIQA', 'metric': 'topiq_fr', 'better': 'higher'}).higher_is_better
    with pytest.raises(UserError, match='pyiqa has no metric "topic"'):
        build_metric({'type': 'PyIQA', 'metric': 'topic'})
    with pytest.raises(UserError, match='fid measures sets of images'):
        build_metric({'type': 'PyIQA', 'metric': 'fid'})
