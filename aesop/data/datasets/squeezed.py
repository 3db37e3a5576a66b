"""Pairs of files squeezed to squares, as RefVAE's published code trains on them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aesop.data.datasets.paired import PairedImageDataset
from aesop.data.datasets.references import resized
from aesop.errors import UserError
from aesop.registry import DATASETS


@DATASETS.register()
@dataclass(kw_only=True, eq=False, repr=False)
class SqueezedPairedImageDataset(PairedImageDataset):
    """Pairs whose images are first resized to squares, each on its own by Pillow's bicubic filter.

    The aspect ratio is lost, and the low-resolution image is not exactly the ground truth reduced. With flips and
    rotations, a quarter of the crops is transposed instead of half. For reproducing the published RefVAE
    (github.com/Holmes-Alan/RefVAE), which squeezes to 288 and crops 256; otherwise use PairedImageDataset.

    Args:
        squeeze: side of the ground truth, a multiple of `scale`; that of the low-resolution image is `squeeze / scale`.
    """

    transposed: ClassVar[float] = 0.25  # after the flips, half of the crops are turned, by 90 or by 180 degrees

    squeeze: int = 288

    def __post_init__(self) -> None:
        if self.squeeze % self.scale or self.squeeze < (self.gt_size or self.scale):
            raise UserError(
                f'{self}: squeeze is {self.squeeze}; set it to a multiple of scale {self.scale}'
                + (f' that is not below gt_size {self.gt_size}' if self.gt_size else '')
            )
        super().__post_init__()

    def _images(self, index: int) -> tuple[list[np.ndarray], int, int]:
        (gt, lq), _, _ = super()._images(index)
        side = self.squeeze // self.scale
        return [resized(gt, self.squeeze, bicubic=True), resized(lq, side, bicubic=True)], side, side
