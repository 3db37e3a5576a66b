"""Images to upscale, without ground truth."""

from dataclasses import dataclass
from typing import Any

from aesop.data.datasets.base import ImageDataset
from aesop.registry import DATASETS


@DATASETS.register()
@dataclass(kw_only=True, eq=False, repr=False)
class SingleImageDataset(ImageDataset):
    """Whole images, in order, as `lq`.

    Args:
        dataroot_lq: folder of the network's inputs; for an auto-encoder these have high resolution.
    """

    has_gt = False

    dataroot_lq: str

    def raw(self, n: int) -> dict[str, Any]:
        return {'lq': self._read(self.items[n][0]), 'name': self.names[n], 'index': n}
