"""Ground truths from files; low-resolution images made from them on the fly."""

from dataclasses import dataclass

import numpy as np

from aesop.data.datasets.references import ReferencedDataset
from aesop.data.datasets.transforms import Window
from aesop.registry import DATASETS
from aesop.utils.imresize import imresize

_MARGIN = 2  # low-resolution pixels that the antialiased kernel extends beyond an output pixel


@DATASETS.register()
@dataclass(kw_only=True, eq=False, repr=False)
class BicubicImageDataset(ReferencedDataset):
    """Ground truths only; low-resolution images are downscaled like MATLAB's bicubic, and rounded to 8 or 16 bits.

    A crop equals that region of the whole low-resolution image, made from the whole ground truth (cropped to a multiple
    of `scale`) and written to a file.

    Args:
        dataroot_gt: folder.
    """

    dataroot_gt: str

    def _cut(self, images: list[np.ndarray], window: Window) -> tuple[np.ndarray, np.ndarray]:
        (gt,) = images
        height, width = (side // self.scale for side in gt.shape[:2])
        context = window.grown(_MARGIN, height, width)
        lq = imresize(self._part(gt, context.scaled(self.scale)), 1 / self.scale)
        return window.scaled(self.scale).cut(gt), window.relative_to(context).cut(lq)
