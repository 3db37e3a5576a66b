import math

import pytest
import torch
import torch.nn.functional as F

from aesop.metrics import build_metric
from aesop.metrics.detail import high_frequency_energy


def wave(cycles_per_pixel, size=64):
    x = torch.arange(size, dtype=torch.float64)
    return (0.5 + 0.4 * torch.sin(2 * math.pi * cycles_per_pixel * x)).expand(1, 3, size, size)


def test_only_frequencies_above_half_nyquist_count():
    assert high_frequency_energy(wave(8 / 64)) < 1e-12 * high_frequency_energy(wave(24 / 64))


def test_energy_grows_with_the_square_of_the_amplitude():
    fine = wave(0.35) - 0.5
    assert (high_frequency_energy(2 * fine) / high_frequency_energy(fine)).item() == pytest.approx(4)


def test_blur_scores_below_one_noise_above_and_the_truth_one():
    gt = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    metric = build_metric({'type': 'DetailRatio', 'crop_border': 4})
    blurred = F.avg_pool2d(gt, 3, stride=1, padding=1)
    assert metric(gt, gt).tolist() == [1.0]
    assert metric(blurred, gt).item() < 0.1
    assert metric((2 * gt - 0.5).clamp(0, 1), gt).item() > 1.5
    assert metric.protocol['ideal'] == 1
