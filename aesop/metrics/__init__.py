"""Image quality metrics on [0, 1] RGB tensors. Every score carries its protocol: colour, crop, quantisation, weights.

| class            | names in published option files              | better | compares          | range      |
|------------------|----------------------------------------------|--------|-------------------|------------|
| `PSNR`           | `calculate_psnr`                             | higher | sr, gt            | dB, <= inf |
| `StabilisedPSNR` | `calculate_psnr_pytorch`                     | higher | sr, gt            | dB, <= 80  |
| `SSIM`           | `calculate_ssim`, `calculate_ssim_pytorch`   | higher | sr, gt            | [-1, 1]    |
| `LPIPS`          | `calculate_lpips`, `calculate_lpips_pytorch` | lower  | sr, gt            | >= 0       |
| `AEPSNR`         | `calculate_aepsnr_pytorch`                   | higher | AE(sr), AE(gt)    | dB, <= inf |
| `LRPSNR`         |                                              | higher | downscaled sr, lq | dB, <= inf |
| `DetailRatio`    |                                              | 1      | sr, gt            | >= 0       |
"""

from typing import Any

from aesop.metrics import autoencoded, detail, lpips, lr_psnr, psnr_ssim  # noqa: F401  (importing registers)
from aesop.metrics.metric import Metric
from aesop.registry import METRICS

__all__ = ['Metric', 'build_metric']


def build_metric(block: dict[str, Any]) -> Metric:
    """The metric that an option block `{type: NAME, **arguments}` describes; the block is left unchanged."""
    return METRICS.build(block)
