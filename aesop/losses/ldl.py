"""The artifact map of LDL: where a GAN's residual looks like an artifact (Liang, Zeng, Zhang, CVPR 2022).

The artifact loss is a pixel criterion on weighted images: criterion(map * sr, map * gt).
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def artifact_map(gt: Tensor, sr: Tensor, sr_ema: Tensor, window: int = 7) -> Tensor:
    """Per-pixel weight >= 0 of the artifact loss. Differentiable in `sr`; the gradient at `sr == gt` is zero.

    With r = sum over channels of |gt - sr|, the map is var(r over the image)^(1/5) * var(r in the window), and zero
    where r is below the residual of `sr_ema`, that is, where the averaged generator errs more.

    Args:
        gt, sr, sr_ema: (N, C, H, W) images in [0, 1]; `sr_ema` is the output of the EMA generator.
        window: odd side of the square neighbourhood in pixels, reflected at the borders; H, W > window // 2.

    Returns:
        (N, 1, H, W).
    """
    residual = (gt - sr).abs().sum(1, keepdim=True)
    with torch.no_grad():
        residual_ema = (gt - sr_ema).abs().sum(1, keepdim=True)

    r = residual.double()  # E[r^2] - E[r]^2 cancels: in float32 flat neighbourhoods would get a noisy variance
    image_variance = r.var((1, 2, 3), keepdim=True)
    safe = torch.where(image_variance > 0, image_variance, 1)  # the slope of the fifth root is infinite at zero
    image_level = torch.where(image_variance > 0, safe**0.2, 0)

    padded = F.pad(r, [window // 2] * 4, mode='reflect')
    mean = F.avg_pool2d(padded, window, stride=1)
    mean_square = F.avg_pool2d(padded.square(), window, stride=1)
    pixel_level = (mean_square - mean.square()).clamp(min=0) * window**2 / (window**2 - 1)  # unbiased

    return torch.where(residual < residual_ema, 0, image_level * pixel_level).to(sr.dtype)
