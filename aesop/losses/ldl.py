"""LDL: penalises residuals of a GAN that look like artifacts (Liang, Zeng, Zhang, CVPR 2022)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aesop.losses.pixel import CRITERIA, Criterion, Reduction, choose
from aesop.registry import LOSSES


def artifact_map(gt: Tensor, sr: Tensor, sr_ema: Tensor, window: int = 7) -> Tensor:
    """Per-pixel weight >= 0 of the artifact loss. Differentiable in `sr`; the gradient at `sr == gt` is zero.

    With r = sum over channels of |gt - sr|, the map is var(r over the image)^(1/5) * var(r in the window), and zero
    where r is below the residual of `sr_ema`, i.e. where the EMA generator has the larger error.

    Args:
        gt, sr, sr_ema: (N, C, H, W) images in [0, 1]; `sr_ema` is the output of the EMA generator.
        window: odd side of the square neighbourhood in pixels, reflection-padded; H, W > window // 2.

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


@LOSSES.register()
class ArtifactLoss(nn.Module):
    """criterion(map * sr, map * gt), with the artifact map of (gt, sr, sr_ema); the gradient flows through the map.

    Args:
        criterion: 'l1' (the paper's), 'l2' (= 'mse') or 'charbonnier'.
        loss_weight, reduction: as in the pixel losses.
        window: see `artifact_map`.
    """

    def __init__(
        self, criterion: Criterion = 'l1', loss_weight: float = 1.0, reduction: Reduction = 'mean', window: int = 7
    ) -> None:
        super().__init__()
        self.criterion = choose('criterion', criterion, CRITERIA)(loss_weight, reduction)
        self.window = window

    def forward(self, sr: Tensor, gt: Tensor, sr_ema: Tensor) -> Tensor:
        """(N, C, H, W) each; `sr_ema` is the EMA generator's output for the same LR image."""
        artifacts = artifact_map(gt, sr, sr_ema, self.window)
        return self.criterion(artifacts * sr, artifacts * gt)
