"""The package and the option file of docs/plugins.md, as a user would run them."""

import re
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

from aesop.archs import build_network
from aesop.cli.runs import main
from aesop.data import build_dataset
from aesop.metrics import build_metric
from aesop.metrics.__main__ import markdown
from aesop.registry import ARCHS, DATASETS, LOSSES, METRICS

PAGE = Path(__file__).parents[1] / 'docs/plugins.md'


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A working folder with the page's files; what they register is forgotten afterwards."""
    files = dict(re.findall(r'```\w+\n# (\S+)\n(.*?)```', PAGE.read_text(), re.DOTALL))
    parts = {f'my_sr/{name}.py' for name in ('__init__', 'network', 'loss', 'dataset', 'metric')}
    assert files.keys() == parts | {'my_sr.yml'}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for registry in (ARCHS, LOSSES, DATASETS, METRICS):
        registry.names()
        monkeypatch.setattr(registry, '_parts', dict(registry._parts))
    yield tmp_path
    for name in [name for name in sys.modules if name.split('.')[0] == 'my_sr']:
        del sys.modules[name]


def test_a_network_loss_and_dataset_from_outside_are_trained(package):
    overrides = ('num_gpu=0', 'train.total_iter=2', 'logger.print_freq=1', 'datasets.train.batch_size_per_gpu=2')
    assert main('train', ['-opt', 'my_sr.yml', '--set', *overrides]) == 0
    trained = torch.load('experiments/my_sr/models/net_g_2.pth', weights_only=True)['params']
    torch.manual_seed(0)  # the option file's manual_seed
    start = build_network({'type': 'ThreeConvs', 'num_feat': 24, 'scale': 4}).state_dict()
    assert trained.keys() == start.keys() and trained['convs.0.weight'].shape == (24, 3, 3, 3)
    assert all(0 < (trained[name] - start[name]).abs().max() < 3e-3 for name in start)  # two steps of Adam at 1e-3
    log = next(Path('experiments/my_sr').glob('*.log')).read_text()
    assert log.count('l_slopes') == 2 and 'l_pix' in log
    assert 'train: 1000 images' in log  # the run gives the data set its name


def test_the_dataset_is_a_function_of_its_options_and_n(package):
    import_module('my_sr')
    block = {'type': 'Stripes', 'gt_size': 32}
    stripes = build_dataset(block, scale=4, seed=3)
    assert stripes[5]['gt'].shape == (3, 32, 32) and stripes[5]['lq'].shape == (3, 8, 8)
    assert torch.equal(stripes[5]['gt'], build_dataset(block, scale=4, seed=3)[5]['gt'])
    assert not torch.equal(stripes[5]['gt'], stripes[6]['gt'])


def test_a_metric_from_outside_is_in_the_table(package):
    import_module('my_sr')
    metric = build_metric({'type': 'MeanError', 'crop_border': 4})
    assert metric(torch.full((3, 16, 16), 51 / 255), torch.zeros(3, 16, 16)).tolist() == pytest.approx([51])
    assert '| `MeanError` |  | lower | 0 to 255 | gt |' in markdown()
    assert metric.protocol['crop_border'] == 4 and metric.protocol['better'] == 'lower'


def test_arguments_of_plugins_are_checked(package, capsys):
    assert main('train', ['-opt', 'my_sr.yml', '--set', 'network_g={type: ThreeConvs, num_feats: 24}']) == 2
    assert 'Did you mean "num_feat"?' in capsys.readouterr().err
    assert main('train', ['-opt', 'my_sr.yml', '--set', 'datasets.train.shortestt=6']) == 2
    assert 'Did you mean "shortest"?' in capsys.readouterr().err
    assert main('train', ['-opt', 'my_sr.yml', '--set', 'plugins=[my_other]']) == 2
    message = capsys.readouterr().err
    assert 'cannot import my_other' in message
    assert message.count('\n') == 1  # and not that its parts are unknown
