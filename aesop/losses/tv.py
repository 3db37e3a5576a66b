"""Total variation: the differences of neighbouring pixels, a smoothness prior (Rudin, Osher, Fatemi, 1992)."""

from typing import Literal

import torch
from torch import Tensor, nn

from aesop.losses.pixel import choose, total
from aesop.registry import LOSSES


class _TVLoss(nn.Module):
    """What both have: the arguments `loss_weight` and `reduction`."""

    def __init__(self, loss_weight: float = 1.0, reduction: Literal['mean', 'sum'] = 'mean') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.reduce = choose('reduction', reduction, {'mean': torch.mean, 'sum': torch.sum})


@LOSSES.register()
class WeightedTVLoss(_TVLoss):
    """loss_weight * (mean |vertical differences| + mean |horizontal differences|); anisotropic.

    Args:
        loss_weight: factor of the loss.
        reduction: 'mean' or 'sum' over the differences.
    """

    def forward(self, sr: Tensor, gt: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
        """`sr`: (N, C, H, W); `gt` is ignored; `weight`: multiplies each pixel's difference to the next one,
        (N, 1 or C, H, W)."""
        differences = {dim: sr.diff(dim=dim).abs() for dim in (-2, -1)}
        if weight is not None:
            differences = {d: x * weight.narrow(d, 0, weight.shape[d] - 1) for d, x in differences.items()}
        return self.loss_weight * total(self.reduce(x) for x in differences.values())


@LOSSES.register()
class SquaredTVLoss(_TVLoss):
    """loss_weight * (squared vertical differences + squared horizontal differences): smooth, and hard on edges.

    Args:
        loss_weight: factor of the loss.
        reduction: 'mean' or 'sum' over the differences.
    """

    def forward(self, sr: Tensor) -> Tensor:
        """`sr`: (N, C, H, W)."""
        return self.loss_weight * total(self.reduce(sr.diff(dim=dim).square()) for dim in (-2, -1))
