import pytest
import torch

from aesop.upscale.colour import CORRECTIONS, adain, coarse, wavelet
from aesop.utils.imresize import imresize
from tests.golden import image


def pair():
    lq = imresize(image(1, 3, 96, 120), 1 / 4)
    return imresize(lq, 4), lq


def test_adain_gives_the_mean_and_deviation_of_the_input():
    sr, lq = pair()
    done = adain(0.7 * sr + 0.2, lq)
    for statistic in (torch.mean, torch.std):
        torch.testing.assert_close(statistic(done, (-2, -1)), statistic(lq, (-2, -1)), atol=1e-4, rtol=0)


def test_wavelet_takes_a_shift_of_colour_away_and_keeps_the_detail():
    sr, lq = pair()
    detail = 0.05 * torch.randn(sr.shape, generator=torch.Generator().manual_seed(0))
    detail -= coarse(detail)
    shift = torch.tensor([0.1, -0.05, 0.2]).view(1, 3, 1, 1)
    done = wavelet(sr + detail + shift, lq)
    torch.testing.assert_close(done, sr + detail, atol=0.01, rtol=0)
    torch.testing.assert_close(wavelet(sr, lq), sr, atol=1e-5, rtol=0)  # nothing to correct


def test_coarse():
    x = torch.full((1, 3, 40, 50), 0.3)
    torch.testing.assert_close(coarse(x), x)  # borders too
    impulse = torch.zeros(1, 1, 129, 129)
    impulse[..., 64, 64] = 1
    spread = coarse(impulse)
    assert spread.sum().item() == pytest.approx(1) and spread.max() < 0.01
    assert spread.nonzero()[:, 2].min() == 64 - 31  # 1 + 2 + 4 + 8 + 16


def test_they_have_names():
    assert {'adain': adain, 'wavelet': wavelet} == CORRECTIONS
