"""L1 between downscaled images: a pixel loss that ignores fine texture."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from aesop.losses.pixel import L1Loss, Reduction, total
from aesop.registry import LOSSES


def reduce_size(x: Tensor, factor: int, antialias: bool = True) -> Tensor:
    """PyTorch's bicubic (N, C, H, W) -> (N, C, H / factor, W / factor).

    With `antialias` it is close to MATLAB's, except at the borders; without it, pixels are skipped.
    """
    size = [side // factor for side in x.shape[-2:]]
    return F.interpolate(x, size, mode='bicubic', align_corners=False, antialias=antialias)


@LOSSES.register()
class MultiSizeL1Loss(L1Loss):
    """Sum of the L1 at several sizes (RefVAE, Eq. 6, as published: 1, 1/2 and 1/4).

    Args:
        factors: downscaling factors, each applied to both original images.
        antialias: false as in the published code.
        loss_weight, reduction: as in L1Loss.
    """

    def __init__(
        self,
        factors: Sequence[int] = (1, 2, 4),
        antialias: bool = True,
        loss_weight: float = 1.0,
        reduction: Reduction = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.factors, self.antialias = tuple(factors), antialias

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]  (it reads other quantities)
        """`sr`, `gt`: (N, C, H, W)."""
        l1 = super().forward
        return total(l1(*(x if k == 1 else reduce_size(x, k, self.antialias) for x in (sr, gt))) for k in self.factors)


@LOSSES.register()
class LRConsistencyLoss(L1Loss):
    """L1 between the downscaled `sr` and `lq`.

    Args:
        antialias: false as in the published RefVAE code, which compares subsampled instead of downscaled images.
        loss_weight, reduction: as in L1Loss.
    """

    def __init__(self, antialias: bool = True, loss_weight: float = 1.0, reduction: Reduction = 'mean') -> None:
        super().__init__(loss_weight, reduction)
        self.antialias = antialias

    def forward(self, sr: Tensor, lq: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]  (it reads other quantities)
        """`sr`: (N, C, scale * h, scale * w); `lq`: (N, C, h, w)."""
        return super().forward(reduce_size(sr, sr.shape[-1] // lq.shape[-1], self.antialias), lq)
