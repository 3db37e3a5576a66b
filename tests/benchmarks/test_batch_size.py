import json
from pathlib import Path

import pytest
import torch

from aesop.benchmarks import batch_size
from aesop.benchmarks.batch_size import largest, random_batch, tried, untrained
from aesop.options import load_options
from tests.commands import command

main = command('benchmark', 'batch-size')

OPTIONS = Path(__file__).parents[2] / 'options'
TINY = {
    'model_type': 'SRModel',
    'scale': 2,
    'network_g': {'type': 'SRVGGNetCompact', 'num_feat': 4, 'num_conv': 1, 'upscale': 2},
    'path': {'pretrain_network_g': 'missing.pth'},
    'datasets': {
        'train': {
            'name': 'none',
            'type': 'BicubicImageDataset',
            'dataroot_gt': 'nowhere',
            'gt_size': 16,
            'batch_size_per_gpu': 4,
        }
    },
    'train': {'optim_g': {'type': 'Adam', 'lr': 1e-4}, 'total_iter': 5, 'pixel_opt': {'type': 'L1Loss'}},
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'tiny.yml'
    path.write_text(json.dumps({'name': 'tiny', **TINY}))
    return str(path)


@pytest.mark.parametrize('limit', [0, 1, 2, 3, 7, 8, 21, 32, 100])
def test_the_largest_that_fits_is_found_in_few_trials(limit):
    asked = []
    assert largest(lambda n: asked.append(n) or n <= limit, most=32) == min(limit, 32)
    assert len(asked) == len(set(asked)) <= 10
    assert max(asked) <= 32


def test_the_table_and_the_advice(file, tmp_path, monkeypatch, capsys):
    steps = {'': 5, 'runtime.precision=bf16': 9}

    def trial(file, overrides, batch, device, limit):
        assert (device, limit) == ('cpu', 2e9)
        fits = batch <= steps[' '.join(o for o in overrides if 'runtime' in o)]
        return {'peak GB': 0.1 * batch, 's / iteration': 0.5, 'samples / s': batch / 0.5} if fits else None

    monkeypatch.setattr(batch_size, 'tried', trial)
    variant = ['--variant', 'runtime.precision=bf16']
    assert main(['-o', tmp_path, '-opt', file, '--device', 'cpu', '--limit-gb', '2', *variant]) == 0
    said = capsys.readouterr().out
    assert said.count('| batch | peak GB | s / iteration | samples / s |') == 2
    assert '| 5 | 0.5 | 0.5 | 10 |' in said and '| 6 | does not fit |  |  |' in said
    first, second = said.split('## runtime.precision=bf16')
    assert 'datasets.train.batch_size_per_gpu: 5\n' in first
    assert 'datasets.train.batch_size_per_gpu: 9\n' in second


def test_a_real_step_without_data_or_weights_fits_or_not(file, tmp_path):
    overrides = untrained(file, [], tmp_path)
    row = tried(file, overrides, 2, 'cpu', 8e9)
    assert 0.1 < row['peak GB'] < 8
    assert row['samples / s'] == pytest.approx(2 / row['s / iteration'])
    assert tried(file, overrides, 2, 'cpu', 1e8) is None  # PyTorch alone takes more


def test_recipes_need_no_weights(tmp_path):
    recipe = str(OPTIONS / 'train_aesop_rrdb.yml')
    options = load_options(recipe, untrained(recipe, [], tmp_path))
    assert options.path.pretrain_network_g is None
    assert options.train.aesop_opt.get('autoencoder_load') is None
    assert torch.load(options.train.perceptual_opt['vgg_weights'])['features.0.weight'].shape == (64, 3, 3, 3)
    assert {k: tuple(v.shape) for k, v in random_batch(options, 3).items()} == {
        'lq': (3, 3, 32, 32),
        'gt': (3, 3, 128, 128),
    }


def test_a_real_world_batch_has_sharpened_targets():
    batch = random_batch(load_options(str(OPTIONS / 'realworld/train_realesrgan.yml')), 2)
    assert {k: tuple(v.shape) for k, v in batch.items()} == {
        'lq': (2, 3, 64, 64),
        'gt': (2, 3, 256, 256),
        'gt_usm': (2, 3, 256, 256),
    }


def test_options_that_do_not_train_are_told(capsys):
    assert main(['-opt', str(OPTIONS / 'test_bicubic.yml'), '--device', 'cpu']) == 2
    assert 'aesop benchmark: ' in capsys.readouterr().err
    assert main(['-opt', str(OPTIONS / 'demo/gan_pix.yml'), '--device', 'cuda:99']) == 2
    assert 'device cuda:99 is not available' in capsys.readouterr().err
