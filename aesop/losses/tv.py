"""Total variation: the differences of neighbouring pixels, a smoothness prior (Rudin, Osher, Fatemi, 1992)."""

from typing import Literal

import torch
from torch import Tensor, nn

from aesop.losses.pixel import choose
from aesop.registry import LOSSES


@LOSSES.register()
class WeightedTVLoss(nn.Module):
    """loss_weight * (mean |vertical differences| + mean |horizontal differences|); anisotropic.

    Args:
        loss_weight: factor of the loss.
        reduction: 'mean' or 'sum' over the differences.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: Literal['mean', 'sum'] = 'mean') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.reduce = choose('reduction', reduction, {'mean': torch.mean, 'sum': torch.sum})

    def forward(self, sr: Tensor, gt: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
        """`sr`: (N, C, H, W); `gt` is ignored; `weight`: multiplies each pixel's difference to the next one,
        (N, 1 or C, H, W)."""
        total = 0
        for dim in (-2, -1):
            difference = sr.diff(dim=dim).abs()
            if weight is not None:
                difference = difference * weight.narrow(dim, 0, weight.shape[dim] - 1)
            total = total + self.reduce(difference)
        return self.loss_weight * total


@LOSSES.register()
class SquaredTVLoss(nn.Module):
    """loss_weight * (squared vertical differences + squared horizontal differences): smooth, and hard on edges.

    Args:
        loss_weight: factor of the loss.
        reduction: 'mean' or 'sum' over the differences.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: Literal['mean', 'sum'] = 'mean') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.reduce = choose('reduction', reduction, {'mean': torch.mean, 'sum': torch.sum})

    def forward(self, sr: Tensor) -> Tensor:
        """`sr`: (N, C, H, W)."""
        return self.loss_weight * sum(self.reduce(sr.diff(dim=dim).square()) for dim in (-2, -1))
