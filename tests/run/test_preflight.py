import logging
from pathlib import Path

import pytest
import torch

from aesop.errors import UserError
from aesop.models import limits
from aesop.options import load_options
from aesop.run import preflight


def test_what_the_sets_hold_is_logged_and_files_that_are_in_both_are_told(folder, options, caplog):
    caplog.set_level(logging.INFO, 'aesop')
    preflight.prepare(load_options(options), ('train', 'val'), Path('experiments/tiny'))
    assert 'datasets.train: BicubicImageDataset "train": 6 images, height x width gt 72x80 (6 PNG RGB)' in caplog.text
    assert 'datasets.val: BicubicImageDataset "textures": 3 images' in caplog.text
    assert ' share ' not in caplog.text
    (folder / 'train/copy.png').symlink_to(folder / 'val/1.png')
    preflight.prepare(load_options(options), ('train', 'val'), Path('experiments/tiny'))
    assert 'datasets.train and datasets.val share 1 files, e.g. val/1.png' in caplog.text


def test_many_bad_images_are_counted_and_not_passed_over(folder, options):
    for n in range(30):
        (folder / f'train/empty{n}.png').write_bytes(b'')
    options['datasets']['train'] |= {'on_error': 'skip', 'max_skipped': 0.6}  # 21 of 36, as many as are told
    with pytest.raises(UserError) as error:
        preflight.prepare(load_options(options), ('train', 'val'), Path('experiments/tiny'))
    *told, rest = error.value.problems
    assert len(told) == 20 and all('empty' in problem for problem in told)
    assert rest == 'datasets.train: ... and 10 more; `aesop check -opt FILE` lists all'
    options['datasets']['train']['max_skipped'] = 0.9
    preflight.prepare(load_options(options), ('train', 'val'), Path('experiments/tiny'))


def test_weights_of_losses_and_lists_are_missing_together_with_all_else(folder, options, monkeypatch):
    monkeypatch.delenv('AESOP_WEIGHTS', raising=False)
    monkeypatch.setattr('torch.hub.get_dir', lambda: str(folder / 'cache'))
    monkeypatch.setattr('torch.hub.load_state_dict_from_url', unreachable)
    layers = {'conv5_4': 1.0}
    options['train']['perceptual_opt'] = {'type': 'PerceptualLoss', 'layer_weights': layers}
    options['datasets']['train']['meta_info'] = 'list.txt'
    options['path']['pretrain_network_g'] = 'experiments/pretrained_models/RealESRGAN_x4plus.pth'
    with pytest.raises(UserError) as error:
        preflight.prepare(load_options(options), ('train', 'val'), Path('experiments/tiny'))
    lists, weights, vgg = error.value.problems
    assert lists.startswith('datasets.train: file list.txt not found. Set datasets.train.meta_info to')
    assert weights.endswith('Get it with `aesop download RealESRGAN_x4plus`')
    assert vgg.startswith('train.perceptual_opt.vgg_weights: the weights of vgg19 could not be downloaded')
    assert '`aesop download VGG19`' in vgg
    (folder / 'weights').mkdir()
    torch.save({}, folder / 'weights/vgg19.pth')
    monkeypatch.setenv('AESOP_WEIGHTS', str(folder / 'weights'))
    with pytest.raises(UserError) as error:
        preflight.prepare(load_options(options), ('train', 'val'), Path('experiments/tiny'))
    assert len(error.value.problems) == 2


def unreachable(*_, **__):
    raise OSError('no network')


def test_a_step_that_cannot_fit_is_told_before_the_start(folder, options, monkeypatch):
    monkeypatch.setattr(limits, 'memory', lambda: 10**6)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    options['datasets']['train']['batch_size_per_gpu'] = 64
    loaded = load_options(options)  # to look at it takes no memory
    with pytest.raises(
        UserError, match='batch_size_per_gpu: a step takes at least .* of 64 samples; this machine has 0.001'
    ):
        preflight.prepare(loaded, ('train', 'val'), Path('experiments/tiny'))
    assert not Path('experiments').exists()
