import numpy as np
import pytest
import torch

from aesop.models import build_model
from aesop.utils.images import save_image

G = {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4, 'scale': 4}
AE = {'type': 'AutoEncoder_RRDBNet', 'enc_opt': {'num_feat': 48, 'num_grow_ch': 4}, 'dec_opt': G}
ADAM = {'type': 'Adam', 'lr': 1e-3, 'betas': [0.9, 0.99]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with six images of texture to train on and three to validate on."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for part, count in (('train', 6), ('val', 3)):
        for i in range(count):
            noise = rng.integers(0, 256, (18, 20, 3), dtype=np.uint8)
            save_image(tmp_path / part / f'{i}.png', noise.repeat(4, 0).repeat(4, 1))
    return tmp_path


@pytest.fixture
def options():
    """A run of six iterations as a dict; deep enough to be changed by a test."""
    psnr = {'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': True}
    train = {'type': 'BicubicImageDataset', 'dataroot_gt': 'train', 'gt_size': 32}
    return {
        'name': 'tiny',
        'model_type': 'SRModel',
        'scale': 4,
        'num_gpu': 0,
        'manual_seed': 7,
        'datasets': {
            'train': train | {'batch_size_per_gpu': 2, 'num_worker_per_gpu': 0},
            'val': {'name': 'textures', 'type': 'BicubicImageDataset', 'dataroot_gt': 'val'},
        },
        'network_g': dict(G),
        'path': {},
        'train': {
            'ema_decay': 0.9,
            'optim_g': dict(ADAM),
            'total_iter': 6,
            'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0},
        },
        'val': {'val_freq': 3, 'save_img': False, 'metrics': {'psnr': psnr}},
        'logger': {'print_freq': 2, 'save_checkpoint_freq': 2, 'use_tb_logger': False},
    }


@pytest.fixture
def adversarial(folder, options):
    """The options of an AESOP run with a discriminator and an auto-encoder file."""
    ae = build_model({'model_type': 'AEModel', 'scale': 4, 'network_g': AE}, 'cpu').net_g
    torch.save({'params': ae.state_dict()}, 'ae.pth')
    options['model_type'] = 'AesopESRGANArtifactsDisModel'
    options['network_d'] = {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 4, 'input_size': 32}
    options['train'] |= {
        'pixel_opt': None,
        'optim_d': dict(ADAM),
        'aesop_opt': {'type': 'AutoEncoderLoss', 'autoencoder_arch': AE, 'autoencoder_load': {'path': 'ae.pth'}},
        'artifacts_opt': {'type': 'L1Loss'},
        'gan_opt': {'type': 'GANLoss', 'gan_type': 'vanilla', 'loss_weight': 0.005},
    }
    return options
