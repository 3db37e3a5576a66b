import pytest
import torch
from torch import nn

from aesop.archs.bicubic import Bicubic
from aesop.evaluation.autoencoder import IMAGES, AutoEncoderQuality, autoencoder_quality
from aesop.utils.imresize import imresize


class Fixed(nn.Module):
    """An auto-encoder without weights; its bottleneck is `shift` above the LR image."""

    scale = 3

    def __init__(self, decoder, shift=0.0):
        super().__init__()
        self.decoder, self.shift = decoder, shift

    def encoder(self, x):
        return imresize(x, 1 / self.scale) + self.shift


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
    assert quality.problems == ['AE(gt) should be at least 1 dB above bicubic: train longer, or a larger network']


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
