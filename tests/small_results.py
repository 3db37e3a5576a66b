"""Results of two methods on a small set of real photographs, made by the engine itself, and an auto-encoder."""

import os
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from aesop.archs import build_network
from aesop.cli.runs import main
from aesop.reporting import figures
from aesop.utils.images import save_image
from tests.golden import fill_

NET = {'type': 'MSRResNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'upscale': 4}
AE = {'type': 'AutoEncoder_MSRResNet', 'enc_opt': {'num_feat': 48, 'num_block': 1, 'num_grow_ch': 4}, 'dec_opt': NET}
SIZES = {'cat': (96, 120), 'small': (64, 72)}  # of the images, height and width
METRICS = {
    'psnr': {'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': True},
    'ssim': {'type': 'calculate_ssim', 'crop_border': 4, 'test_y_channel': True},
    'lr_psnr': {'type': 'LRPSNR', 'scale': 4},
}


def options(name, net, weights=None):
    """A test run on `Set14`, which is two pieces of a photograph here."""
    sets = {'test_1': {'name': 'Set14', 'type': 'BicubicImageDataset', 'dataroot_gt': 'gt'}}
    val = {'save_img': True, 'metrics': METRICS}
    about = {'name': name, 'model_type': 'SRModel', 'scale': 4, 'num_gpu': 0}
    return about | {'datasets': sets, 'network_g': net, 'path': {'pretrain_network_g': weights}, 'val': val}


def make_inputs():
    """In the working folder: `gt/`, weights `start.pth` and `end.pth` of a network, `ae.pth`, and option files."""
    from skimage import data

    for number, (name, (height, width)) in enumerate(SIZES.items()):
        top, left = 60 + 40 * number, 120 + 30 * number
        save_image(Path(f'gt/{name}.png'), data.chelsea()[top : top + height, left : left + width])
    for file, block, change in (('start', NET, 0), ('end', NET, 0.02), ('ae', AE, 0)):
        net = fill_(build_network(block))
        state = {k: v + change if v.ndim == 1 else v for k, v in net.state_dict().items()}
        torch.save({'params': state}, f'{file}.pth')
    loss = {'type': 'AutoEncoderLoss', 'autoencoder_arch': AE, 'autoencoder_load': {'path': 'ae.pth'}}
    Path('ae.yml').write_text(yaml.safe_dump({'scale': 4, 'train': {'aesop_opt': loss}}))
    Path('tiny.yml').write_text(yaml.safe_dump(options('tiny', NET, 'end.pth')))
    Path('bicubic.yml').write_text(yaml.safe_dump(options('bicubic', {'type': 'Bicubic', 'scale': 4})))


def make_results():
    """All that, and `results/bicubic` and `results/tiny`."""
    make_inputs()
    for name in ('bicubic', 'tiny'):
        assert main('test', ['-opt', f'{name}.yml']) == 0


@pytest.fixture(scope='session')
def made(tmp_path_factory):
    """A folder with all that; not to be written to."""
    folder, before = tmp_path_factory.mktemp('results'), os.getcwd()
    os.chdir(folder)
    try:
        make_results()
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def in_made(made, monkeypatch):
    monkeypatch.chdir(made)


@pytest.fixture
def inputs(made, tmp_path, monkeypatch):
    """A working folder with the inputs alone."""
    shutil.copytree(made, tmp_path, ignore=shutil.ignore_patterns('results'), dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def coarse(monkeypatch):
    """Figures of few pixels, which are drawn faster."""
    monkeypatch.setitem(figures.STYLE, 'savefig.dpi', 40)
