"""A method from outside trains, validates, resumes, is tested, and is checked before the start like ours."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from aesop.cli.runs import main
from aesop.errors import UserError
from aesop.options import load_options
from aesop.registry import ARCHS, DATASETS, LOSSES, METRICS, MODELS
from tests.runs import folder  # noqa: F401  (a fixture)
from tests.training.test_loop import ROOT, same, stop_at, torchrun, weights

FILE = Path(__file__).with_name('reference_sr.yml')


@pytest.fixture(scope='module', autouse=True)
def registries():
    """What the plugin registers is taken away again: other tests list what there is."""
    kinds = (ARCHS, LOSSES, MODELS, DATASETS, METRICS)
    before = [{name: kind.get(name) for name in kind.names()} for kind in kinds]
    yield
    for kind, parts in zip(kinds, before):
        kind._parts.clear()
        kind._parts.update(parts)
    sys.modules.pop('tests.outside.reference_sr', None)


def run(mode, *more):
    return main(mode, ['-opt', str(FILE), *more])


def told(**changes):
    with pytest.raises(UserError) as caught:
        load_options({**yaml.safe_load(FILE.read_text()), **changes})
    return '\n'.join(caught.value.problems)


def test_it_trains_validates_resumes_and_is_tested(folder, monkeypatch):  # noqa: F811
    assert len(FILE.read_text().splitlines()) <= 40
    assert run('train', '--set', 'name=whole') == 0
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        assert run('train') == 3
    assert run('train', '--auto_resume') == 0
    assert same(weights(), weights('whole'))
    whole, resumed = (Path(f'experiments/{name}/metrics.jsonl').read_text() for name in ('whole', 'tiny'))
    assert whole == resumed
    scores = json.loads(whole.splitlines()[-1])['datasets']['val']
    assert scores['spread'] > 0 and scores['worst'] <= scores['psnr']
    (losses,) = [json.loads(line) for line in Path('experiments/tiny/train.jsonl').read_text().splitlines()][-1:]
    assert {'l_g_pix', 'l_g_kl', 'l_g_style', 'l_g_matching', 'l_g_gan', 'l_d_penalty'} <= set(str(losses).split("'"))

    assert run('test', '--set', 'path.pretrain_network_g=experiments/tiny/models/net_g_6.pth', 'val.save_img=true') == 0
    result = json.loads(Path('results/tiny/metrics.json').read_text())
    assert result['datasets']['val']['spread'] > 0
    assert result['protocol']['metrics']['val']['worst'].items() >= {'solutions': 3, 'over': 'worst'}.items()
    assert len(list(Path('results/tiny/visualization/val').glob('0_sample0000?.png'))) == 3


def test_two_ranks(folder, monkeypatch):  # noqa: F811
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    code, said = torchrun(str(ROOT / 'train.py'), '-opt', str(FILE))
    assert code == 0, said
    assert weights().keys() == {'params', 'params_ema'}


def test_its_keys_networks_and_quantities_are_checked_like_ours():
    train = yaml.safe_load(FILE.read_text())['train']
    assert 'train.shrnik: unknown key. Did you mean "shrink"?' in told(train=train | {'shrnik': 1})
    assert 'train.shrink: must be at least 0' in told(train=train | {'shrink': -1})
    assert 'kl_opt: SRModel would ignore it' in told(model_type='SRModel', train=train)
    plain = {'type': 'RRDBNet', 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4}
    assert 'train.kl_opt: TinyKL reads mu, which nothing provides' in told(network_g=plain)
    data = {'train': {'type': 'BicubicImageDataset', 'dataroot_gt': 'x', 'gt_size': 32, 'batch_size_per_gpu': 2}}
    assert 'network_g: TinyReferenceVAE takes ref, which the data set does not have' in told(datasets=data)


def test_a_data_set_that_does_not_tell_its_entries_is_trusted(monkeypatch):
    from tests.outside.reference_sr import TwinDataset

    monkeypatch.delattr(TwinDataset, 'entries')
    assert load_options(FILE).model_type == 'TinyReferenceModel'
