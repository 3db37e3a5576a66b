from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from aesop.archs.bicubic import Bicubic
from aesop.cli.runs import main
from aesop.evaluation.autoencoder import IMAGES, AutoEncoderQuality, autoencoder_quality
from aesop.utils.images import save_image
from aesop.utils.imresize import imresize


class Fixed(nn.Module):
    """An auto-encoder without weights; its bottleneck is `shift` above the LR image."""

    scale = 3

    def __init__(self, decoder, shift=0.0):
        super().__init__()
        self.decoder, self.shift = decoder, shift

    def forward(self, x, also):
        assert also == ('lr',)
        lr = imresize(x, 1 / self.scale) + self.shift
        return {'sr': self.decoder(lr), 'lr': lr}


def pairs(number=3):
    torch.manual_seed(0)
    for _ in range(number):
        gt = imresize(torch.rand(3, 16, 16), 3)
        yield {'gt': gt.clamp(0, 1), 'lq': imresize(gt.clamp(0, 1), 1 / 3)}


def test_bicubic_is_as_good_as_itself_and_not_good_enough():
    quality = autoencoder_quality(Fixed(Bicubic(3)), list(pairs()))
    assert quality.images == 3
    assert quality.psnr == quality.bicubic == pytest.approx(quality.psnr)
    assert quality.bottleneck == quality.downsampling == 0
    assert quality.problems == ['AE(gt) should be at least 1 dB above bicubic: train longer, or use a larger network']


def test_a_bottleneck_far_from_lq_is_told_in_levels():
    quality = autoencoder_quality(Fixed(Bicubic(3), shift=4 / 255), list(pairs()))
    assert quality.bottleneck == pytest.approx(4, abs=1e-4)
    assert 'the bottleneck should be within 3.0 levels of lq' in quality.problems[-1]


def test_with_noise_in_lq_the_bottleneck_is_compared_with_plain_downsampling():
    quality = AutoEncoderQuality(5, psnr=30, bicubic=27.5, bottleneck=7.9, downsampling=8.0)
    assert quality.problems == []
    assert str(quality).endswith('8.00: good enough for L_AESOP')
    assert 'AE(gt) 30.00 dB' in str(quality)


def test_large_sets_are_sampled_and_sets_without_lq_are_not_measured():
    assert autoencoder_quality(Fixed(Bicubic(3)), list(pairs(2 * IMAGES + 1))).images <= IMAGES
    assert autoencoder_quality(Fixed(Bicubic(3)), [{'gt': torch.rand(3, 12, 12)}]) is None


def test_it_is_assessed_in_the_precision_of_its_training(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for number in range(2):
        save_image(Path(f'gt/{number}.png'), rng.integers(0, 256, (32, 40, 3), dtype=np.uint8))
    decoder = {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 32, 'num_block': 1, 'num_grow_ch': 32}
    network = {'type': 'AutoEncoder_RRDBNet', 'enc_opt': {'num_feat': 64, 'num_block': 1}, 'dec_opt': decoder}
    data = {'type': 'BicubicImageDataset', 'dataroot_gt': 'gt'}
    loader = {'gt_size': 32, 'batch_size_per_gpu': 1, 'num_worker_per_gpu': 0, 'use_flip': False, 'use_rot': False}
    loss = {'type': 'L1Loss'}
    train = {'total_iter': 1, 'optim_g': {'type': 'Adam', 'lr': 1e-3}, 'pixel_opt': loss, 'pixel_at_LR_opt': loss}
    options = {'name': 'a', 'model_type': 'AEModel', 'scale': 4, 'num_gpu': 0, 'network_g': network, 'train': train}
    options |= {'datasets': {'train': {**data, **loader}, 'val': data}, 'runtime': {'precision': 'bf16'}}
    options |= {'val': {'val_freq': 1, 'metrics': {'psnr': {'type': 'PSNR'}}}, 'logger': {'use_tb_logger': False}}
    Path('a.yml').write_text(yaml.safe_dump(options))
    with caplog.at_level('INFO', 'aesop'):
        assert main('train', ['-opt', 'a.yml']) == 0
    assert 'auto-encoder on 2 images: AE(gt) ' in caplog.text
