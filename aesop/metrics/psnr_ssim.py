"""PSNR and SSIM."""

import math

import torch
from torch import Tensor

from aesop.metrics.metric import Metric
from aesop.registry import METRICS


def psnr(a: Tensor, b: Tensor, eps: float = 0.0) -> Tensor:
    """Peak signal-to-noise ratio in dB of images (N, C, H, W) in [0, 1] -> (N,); `eps` is added to the MSE."""
    return -10 * torch.log10((a - b).square().mean((1, 2, 3)) + eps)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity (Wang et al., TIP 2004) of images (N, C, H, W) in [0, 1] -> (N,), mean over channels.

    Gaussian window 11x11 with sigma 1.5, population moments, K1 0.01, K2 0.03; only windows inside the image. Only the
    sum of both variances is needed, so four local means suffice.
    """
    mean_a, mean_b, squares, product = _local_means(torch.stack([a, b, a * a + b * b, a * b]))
    means, both = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * means + c1) * (2 * (product - means) + c2) / ((both + c1) * (squares - both + c2))
    return similarity.flatten(1).mean(1)


def _local_means(x: Tensor) -> Tensor:
    """(..., H, W) -> (..., H - 10, W - 10), rows first, then columns: sums of shifted images, which take a CPU half the
    time of a convolution in float64."""
    taps = [math.exp(-((t - 5) ** 2) / (2 * 1.5**2)) for t in range(11)]
    for dim in (-2, -1):
        length = x.shape[dim] - 10
        total = x.narrow(dim, 0, length) * (taps[0] / sum(taps))
        for t in range(1, 11):
            total.add_(x.narrow(dim, t, length), alpha=taps[t] / sum(taps))
        x = total
    return x


@METRICS.register('calculate_psnr')
class PSNR(Metric):
    """PSNR in dB; identical images score infinity."""

    value_range = 'dB, up to infinity'
    how = 'of the mean squared error over pixels and channels'
    eps = 0.0

    def score(self, sr: Tensor, gt: Tensor) -> Tensor:
        return psnr(*self.prepare(sr, gt), self.eps)


@METRICS.register('calculate_psnr_pytorch')
class StabilisedPSNR(PSNR):
    """PSNR with 1e-8 added to the MSE; identical images score 80 dB."""

    value_range = 'dB, up to 80'
    how = '1e-8 is added to the mean squared error'
    eps = 1e-8


@METRICS.register('calculate_ssim', 'calculate_ssim_pytorch')
class SSIM(Metric):
    """SSIM; identical images score 1."""

    value_range = '-1 to 1'
    how = 'Gaussian window 11x11 with sigma 1.5, inside the image; mean over pixels and channels'
    min_side = 11

    def score(self, sr: Tensor, gt: Tensor) -> Tensor:
        return ssim(*self.prepare(sr, gt))
