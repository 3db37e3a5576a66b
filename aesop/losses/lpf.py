"""Low-pass filtered pixel loss: the alternative to an auto-encoder in the paper's Table 5 (b)."""

from torch import Tensor
from torch.nn import functional as F

from aesop.losses.pixel import L1Loss, Reduction
from aesop.registry import LOSSES


@LOSSES.register()
class LRL1Loss(L1Loss):
    """L1 between `sr` and `gt` after bicubic x 1/scale, without antialiasing as in the published code."""

    def __init__(self, loss_weight: float = 1.0, reduction: Reduction = 'mean', scale: int = 4) -> None:
        super().__init__(loss_weight, reduction)
        self.scale = scale

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]  (it reads other quantities)
        """`sr`, `gt`: (N, C, H, W)."""
        sr, gt = (F.interpolate(x, scale_factor=1 / self.scale, mode='bicubic', align_corners=False) for x in (sr, gt))
        return super().forward(sr, gt)
