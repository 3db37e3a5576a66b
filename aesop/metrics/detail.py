"""Amount of fine detail: energy at high frequencies, relative to the ground truth."""

from typing import Any

import torch
from torch import Tensor

from aesop.metrics.metric import Metric
from aesop.registry import METRICS


@METRICS.register()
class DetailRatio(Metric):
    """Energy of sr above half the Nyquist frequency over that of gt: 1 is ideal, less is blurry, more is noisy.

    On luma, with a Hann window, so that the discontinuity between opposite borders does not count as detail. Above half
    Nyquist means a radius of more than 1/4 cycle per pixel in the two-dimensional spectrum.
    """

    value_range = '0 and more; 1 is ideal'
    how = 'energy above half the Nyquist frequency, under a Hann window, relative to the ground truth'

    def __init__(self, test_y_channel: bool = True, **common: Any) -> None:
        super().__init__(test_y_channel=test_y_channel, **common)
        self.details = {'ideal': 1, 'band': 'radius above 1/4 cycle a pixel', 'window': 'Hann'}

    def score(self, sr: Tensor, gt: Tensor) -> Tensor:
        sr, gt = self.prepare(sr, gt)
        return high_frequency_energy(sr) / high_frequency_energy(gt)


def high_frequency_energy(images: Tensor) -> Tensor:
    """Energy (N,) of (N, C, H, W) images above half the Nyquist frequency."""
    h, w = images.shape[-2:]
    as_images = {'dtype': images.dtype, 'device': images.device}
    window = torch.hann_window(h, **as_images)[:, None] * torch.hann_window(w, **as_images)
    radius = torch.fft.fftfreq(h, **as_images)[:, None].hypot(torch.fft.fftfreq(w, **as_images))
    energy = torch.fft.fft2(images * window).abs().square()
    return (energy * (radius > 0.25)).sum((1, 2, 3))
