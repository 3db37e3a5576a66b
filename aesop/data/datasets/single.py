"""Images to upscale, without ground truth."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aesop.data.datasets.base import ImageDataset, below
from aesop.registry import DATASETS


@DATASETS.register()
@dataclass(kw_only=True, eq=False, repr=False)
class SingleImageDataset(ImageDataset):
    """Whole images, in order, as `lq`.

    Args:
        dataroot_lq: folder. The auto-encoder's input is here too, though it is of high resolution.
    """

    has_gt = False

    dataroot_lq: str

    def stored(self, n: int) -> dict[str, Any]:
        return {'lq': self._read(self.items[n][0]), 'name': self.names[n], 'index': n}

    def _find(self) -> tuple[list[tuple[Path, ...]], list[str]]:
        paths = self._list(self.dataroot_lq)
        return [(path,) for path in paths], [below(self.dataroot_lq, path) for path in paths]
