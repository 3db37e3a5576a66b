"""PSNR and SSIM."""

import torch
from torch import Tensor
from torch.nn import functional as F

from aesop.metrics.metric import Metric
from aesop.registry import METRICS


def psnr(a: Tensor, b: Tensor, eps: float = 0.0) -> Tensor:
    """Peak signal-to-noise ratio in dB of images (N, C, H, W) in [0, 1] -> (N,); `eps` is added to the MSE."""
    return -10 * torch.log10((a - b).square().mean((1, 2, 3)) + eps)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity (Wang et al., TIP 2004) of images (N, C, H, W) in [0, 1] -> (N,), mean over channels.

    Gaussian window 11x11 with sigma 1.5, population moments, K1 0.01, K2 0.03; only windows inside the image.
    """
    taps = torch.exp(-(torch.arange(-5, 6, dtype=a.dtype, device=a.device) ** 2) / (2 * 1.5**2))
    taps = taps / taps.sum()

    def local_mean(x: Tensor) -> Tensor:
        x = F.conv2d(x.flatten(0, 1)[:, None], taps.view(1, 1, 11, 1))  # (N*C, 1, h, W)
        return F.conv2d(x, taps.view(1, 1, 1, 11))  # (N*C, 1, h, w)

    mean_a, mean_b = local_mean(a), local_mean(b)
    var_a, var_b = local_mean(a * a) - mean_a**2, local_mean(b * b) - mean_b**2
    covariance = local_mean(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return similarity.view(len(a), -1).mean(1)


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
