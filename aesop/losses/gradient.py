"""SPSR's gradient loss: the distance between gradient maps, whose ridges are the edges (Ma et al., CVPR 2020)."""

from torch import Tensor

from aesop.archs.spsrnet import GradientMap
from aesop.losses.pixel import L1Loss, Reduction
from aesop.registry import LOSSES


@LOSSES.register()
class GradientLoss(L1Loss):
    """L1 between the gradient maps of `sr` and `gt`, e.g. `train.losses: {grad: {type: GradientLoss}}`.

    Args:
        loss_weight, reduction: as in L1Loss.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: Reduction = 'mean') -> None:
        super().__init__(loss_weight, reduction)
        self.gradient_map = GradientMap()

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]  (it reads other quantities)
        """`sr`, `gt`: (N, C, H, W)."""
        return super().forward(self.gradient_map(sr), self.gradient_map(gt))
