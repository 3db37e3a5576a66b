"""load_options on whole files: what people have, what they get wrong, and what becomes of mutants."""

import importlib.util
import logging
from pathlib import Path

import pydantic
import pytest
import yaml

from aesop.errors import UserError
from aesop.options import load_options

ROOT = Path(__file__).parents[2]


def problems(source, overrides=()):
    with pytest.raises(UserError) as caught:
        load_options(source, overrides)
    return caught.value.problems


def test_an_old_file_loads(write, old_style, caplog, monkeypatch):
    monkeypatch.setenv('HOME', '/home/someone')
    with caplog.at_level(logging.INFO):
        options = load_options(write(old_style))
    assert options.name == '001:AESOP_x4_old'
    assert options.num_gpu == 4
    assert options.datasets['train']['dataroot_gt'] == '/home/someone/data/DF2K_sub'
    assert options.train.optim_g == {'type': 'Adam', 'lr': 1e-4, 'weight_decay': 0, 'betas': [0.9, 0.99]}
    assert options.train.optim_d['lr'] == 1e-4
    assert options.train.scheduler == {'type': 'MultiStepLR', 'milestones': [50000, 300000], 'gamma': 0.5}
    assert (options.val.val_freq, type(options.val.val_freq)) == (5000, int)
    assert options.train.gan_opt['loss_weight'] == 0.005
    assert options.path.resume_state is None
    assert options.logger.keep_last == 3
    (line,) = [r.message for r in caplog.records]
    for key in ('dist_params', 'val.pbar', 'datasets.train.prefetch_mode'):
        assert key in line
    options.require('train')
    options.require('test')


def test_an_entry_is_taken_away_by_a_tilde():
    psnr = {'type': 'calculate_psnr'}
    options = load_options({'datasets': {'val': None}, 'val': {'metrics': {'a': psnr, 'b': None}}})
    assert options.datasets == {} and options.val.metrics == {'a': psnr}


def test_a_dict_is_read_like_the_file(write, old_style):
    data = yaml.safe_load(old_style)
    assert data['train']['optim_d']['lr'] == '1e-4'  # as PyYAML reads it
    before = yaml.safe_dump(data)
    assert load_options(data) == load_options(write(old_style))
    assert yaml.safe_dump(data) == before


def test_resolved_options_load_again_to_equal_ones(write, old_style):
    options = load_options(write(old_style), ['logger.keep_last=~', 'val.suffix="1e-4"', 'train.ema_decay=1e-12'])
    assert load_options(write(options.to_yaml(), 'again.yml')) == options
    assert options.logger.keep_last is None
    assert options.val.suffix == '1e-4'
    plain = load_options(write(old_style))
    assert plain != options
    assert load_options(plain.to_dict()) == plain


def test_options_are_read_only(write, old_style):
    options = load_options(write(old_style))
    with pytest.raises(pydantic.ValidationError):
        options.name = 'x'
    with pytest.raises(pydantic.ValidationError):
        options.train.total_iter = 1


def test_sources_tell_where_each_value_was_written(write, old_style):
    options = load_options(write(old_style), ['train.total_iter=7'])
    sources = options.sources
    assert sources['scale'] == f'{options_path(write, old_style)}:4'
    assert sources['train.total_iter'] == 'override'
    assert sources['logger.keep_last'] == 'default'
    assert sources['val.metrics.psnr.type'].endswith(
        f':{old_style.splitlines().index("      type: calculate_psnr") + 1}'
    )
    assert load_options({'scale': 4}).sources['scale'] == 'options'


def options_path(write, text):
    return write(text)


def test_all_mistakes_are_told_at_once(write, old_style):
    text = (
        old_style.replace('ema_decay:', 'ema_decya:')
        .replace('num_grow_ch: 32\nnetwork_d', 'num_grwo_ch: 32\nnetwork_d')
        .replace('scale: 4', 'scale: four')
        .replace('type: Adam', 'type: Xyzzy', 1)
    )
    path = write(text)
    found = problems(path, ['val.val_freq=-1', 'logger:print_freq=often', 'network_e.type=X'])
    lines = {name: number for number, name in enumerate((line.strip() for line in text.splitlines()), 1)}
    assert sorted(found) == sorted(
        [
            f'{path}:{lines["ema_decya: 0.999"]}: train.ema_decya: unknown key. Did you mean "ema_decay"?',
            f'{path}:{lines["num_grwo_ch: 32"]}: network_g.num_grwo_ch: RRDBNet has no such argument.'
            ' Did you mean "num_grow_ch"?',
            f"{path}:4: scale: must be a whole number, not 'four'",
            f'{path}:{lines["type: Xyzzy"]}: train.optim_g.type: unknown optimiser "Xyzzy". Known: '
            + found[[i for i, p in enumerate(found) if 'Xyzzy' in p][0]].partition('Known: ')[2],
            '--set val.val_freq=-1: val.val_freq: must be at least 1, not -1',
            "--set logger:print_freq=often: logger.print_freq: must be a whole number, not 'often'",
            '--set network_e.type=X: network_e: unknown key. Did you mean "network_g"?',
            f'{path}:{lines["artifacts_opt:"]}: train.artifacts_opt: needs the moving average of the generator:'
            ' set ema_decay, e.g. 0.999',
        ]
    )


def test_a_partial_dict_is_enough_to_build_a_model():
    options = load_options(
        {
            'model_type': 'SRModel',
            'scale': 4,
            'network_g': {'type': 'RRDBNet'},
            'train': {'optim_g': {'type': 'Adam', 'lr': '1e-4'}, 'pixel_opt': {'type': 'L1Loss'}},
        }
    )
    assert (options.name, options.datasets, options.val.metrics) == (None, {}, {})
    assert options.train.optim_g['lr'] == 1e-4
    assert options.path.param_key_g == 'params'


def test_require_names_what_a_run_lacks(write):
    path = write('model_type: ESRGANModel\ntrain:\n  total_iter: 5\n')
    options = load_options(
        write('model_type: ESRGANModel\nnetwork_d: {type: VGGStyleDiscriminator}\ntrain:\n  total_iter: 5\n')
    )
    with pytest.raises(UserError) as caught:
        options.require('train')
    assert caught.value.problems[0] == f'{path}:1: name: is missing; a train run needs it'
    assert f'{path}:3: train.optim_g: is missing; a train run needs it' in caught.value.problems
    assert {p.split(': ')[1] for p in caught.value.problems} == {
        'name', 'scale', 'network_g', 'train.optim_g', 'train.optim_d', 'train.gan_opt', 'datasets.train',
        'datasets.train.batch_size_per_gpu', 'datasets.train.gt_size',
    }  # fmt: skip
    with pytest.raises(UserError, match='a test run needs a data set'):
        options.require('test')


def test_a_run_without_a_loss_is_refused(write, old_style):
    options = load_options(
        write(old_style),
        ['model_type=SRModel', 'network_d=~', 'train.optim_d=~', 'train.gan_opt=~', 'train.artifacts_opt=~']
        + ['train.aesop_opt=~', 'train.perceptual_opt=~'],
    )
    with pytest.raises(UserError, match=r'run.yml:\d+: train: has no loss; name one, e.g. pixel_opt'):
        options.require('train')


def test_test_files_need_neither_train_nor_discriminator():
    options = load_options(
        {
            'name': 'test',
            'model_type': 'ESRGANModel',
            'scale': 4,
            'network_g': {
                'type': 'AutoEncoder_RRDBNet',
                'enc_opt': {'placeholder': 0},
                'dec_opt': {'type': 'RRDBNet', 'num_block': 1},
            },
            'datasets': {'test_1': {'type': 'SingleImageDataset', 'name': 'Set14', 'dataroot_lq': 'data/Set14/HR'}},
        }
    )
    options.require('test')
    assert options.train is None


def test_plugins_register_parts(tmp_path, monkeypatch):
    (tmp_path / 'plugged_in_loss.py').write_text(
        'from aesop.registry import LOSSES\n'
        '@LOSSES.register()\n'
        'class PluggedInLoss:\n'
        '    def __init__(self, power: float = 1.0): ...\n'
        '    def forward(self, sr, gt): return (sr - gt).mean()\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    block = {'type': 'PluggedInLoss', 'power': 2}
    options = load_options({'plugins': ['plugged_in_loss'], 'train': {'losses': {'mine': block}}})
    assert options.train.losses == {'mine': block}
    assert problems({'plugins': ['no_such_module_here']}) == [
        'options: plugins.0: cannot import no_such_module_here: '
        "ModuleNotFoundError: No module named 'no_such_module_here'"
    ]


def test_mutants_end_in_options_or_a_sentence(old_style, tmp_path):
    spec = importlib.util.spec_from_file_location('fuzz_options', ROOT / 'scripts/fuzz_options.py')
    fuzz = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz)
    outcomes = [fuzz.outcome(raw, tmp_path) for raw in fuzz.mutants(old_style, count=150, seed=3)]
    assert {'loaded', 'refused'} == set(outcomes)
