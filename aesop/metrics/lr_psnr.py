"""LR-PSNR: consistency of the downscaled result with the input."""

from typing import Any

from torch import Tensor

from aesop.metrics.metric import Metric
from aesop.metrics.psnr_ssim import psnr
from aesop.registry import METRICS
from aesop.utils.images import quantise
from aesop.utils.imresize import imresize


@METRICS.register()
class LRPSNR(Metric):
    """PSNR in dB between the downscaled `sr` and `lq`: quantise, MATLAB bicubic x 1/scale, quantise, compare.

    The paper does not specify the details of this metric; these are ours.

    Args:
        scale: upscaling factor from `lq` to `sr`.
        test_y_channel, common: arguments of `Metric`; `crop_border` is in LR pixels.
    """

    value_range = 'dB, up to infinity'
    how = 'PSNR between the downscaled sr (quantise, MATLAB bicubic, quantise) and lq'

    def __init__(
        self,
        scale: int = 4,
        test_y_channel: bool = True,
        **common: Any,
    ) -> None:
        super().__init__(test_y_channel=test_y_channel, **common)
        self.scale = scale
        self.details = {
            'quantisation': '8 bit, before and after downscaling',
            'downscaling': f'MATLAB bicubic x1/{scale}, antialiased',
        }

    def score(self, sr: Tensor, lq: Tensor) -> Tensor:
        return psnr(*self.prepare(quantise(imresize(sr, 1 / self.scale)), lq))


@METRICS.register()
class LRPSNRofGT(LRPSNR):
    """LRPSNR with the downscaled `gt` instead of `lq`, for inputs that are not bicubic downscalings of `gt`.

    Args: as in `LRPSNR`.
    """

    how = 'PSNR between the downscaled sr and the downscaled gt (quantise, MATLAB bicubic, quantise)'

    def score(self, sr: Tensor, gt: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]  (it reads other quantities)
        return psnr(*self.prepare(*(quantise(imresize(x, 1 / self.scale)) for x in (sr, gt))))
