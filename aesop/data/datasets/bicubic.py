"""Ground truths from files; low-resolution images made from them on the fly."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aesop.data.datasets.base import below
from aesop.data.datasets.references import ReferencedDataset
from aesop.data.datasets.transforms import Window
from aesop.registry import DATASETS
from aesop.utils.imresize import imresize

_MARGIN = 2  # low-resolution pixels that the antialiased kernel reaches beyond the one it makes


@DATASETS.register()
@dataclass(kw_only=True, eq=False, repr=False)
class BicubicImageDataset(ReferencedDataset):
    """Ground truths alone; the low-resolution image is MATLAB's bicubic, rounded to the ground truth's 8 or 16 bits.

    A crop of it is what the whole low-resolution image would show there, as if it had been made from the whole ground
    truth (cut to a multiple of `scale`) and written to a file.

    Args:
        dataroot_gt: folder.
    """

    dataroot_gt: str

    def _find(self) -> tuple[list[tuple[Path, ...]], list[str]]:
        gts = self._list(self.dataroot_gt)
        return [(gt,) for gt in gts], [below(self.dataroot_gt, gt) for gt in gts]

    def _cut(self, images: list[np.ndarray], window: Window) -> tuple[np.ndarray, np.ndarray]:
        (gt,) = images
        height, width = (side // self.scale for side in gt.shape[:2])
        context = window.grown(_MARGIN, height, width)
        lq = imresize(self._part(gt, context.times(self.scale)), 1 / self.scale)
        return window.times(self.scale).cut(gt), window.inside(context).cut(lq)
