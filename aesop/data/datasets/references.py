"""Reference images, which steer networks with many solutions for one image."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image

from aesop.data.datasets.base import ImageDataset, Sample, Unfit
from aesop.data.datasets.crops import CropDataset
from aesop.data.storage.source import SOURCES, Folders
from aesop.errors import UserError

_STREAM = 2  # separates its random numbers from those of crops (none) and of epochs (1)
_NOISE = 128  # noise is uniform below this, as the published RefVAE has it

logger = logging.getLogger(__name__)


class References:
    """Reference images, one of which is chosen for solution k of image n.

    Args:
        root: a folder, an LMDB whose name ends in .lmdb, or a single image.
        side: to which they are resized, whatever their aspect.
        seed: seed of the choice.

    Raises:
        UserError: the folder is missing or empty.
    """

    def __init__(self, root: str | Path, side: int, seed: int) -> None:
        self.root, self.side, self.seed = Path(root), side, seed
        self.source = SOURCES['lmdb' if self.root.suffix == '.lmdb' else 'disk']()
        self.paths = [self.root] if self.root.is_file() else self.source.list(self.root)
        # Order of the references over the solutions of an image: all are used before one is repeated
        self._order = np.random.default_rng((seed, _STREAM)).permutation(len(self.paths))

    def path(self, n: int, k: int) -> Path:
        first = int(np.random.default_rng((self.seed, n, _STREAM)).integers(len(self.paths)))
        return self.paths[self._order[(first + k) % len(self.paths)]]

    def read(self, path: Path) -> np.ndarray:
        """(side, side, 3) uint8; UserError where it cannot be read."""
        return resized(self.source.read(path), self.side)

    def problems(self) -> list[str]:
        """Problems of the files that their first and last bytes show."""
        found = []
        for path in self.paths:
            try:
                self.source.size(path)
            except UserError as error:
                found += error.problems
        return found


@dataclass(kw_only=True, eq=False, repr=False)
class ReferencedDataset(CropDataset):
    """A crop data set whose samples may have a reference image: `ref`, (3, ref_size, ref_size).

    The reference of sample n depends only on (seed, n); other solutions of that sample have other references, if there
    are several. Sample n itself is solution 0.

    Args:
        ref: where references come from: `folder` (a random image of `dataroot_ref`), `gt` or `lq` (the sample's own),
            or `noise` (uniform in [0, 0.5)). None: samples have no reference.
        dataroot_ref: folder, or LMDB whose name ends in .lmdb, of reference images of any size.
        ref_size: side to which references are resized, whatever their aspect.
    """

    image_keys: ClassVar[tuple[str, ...]] = (*ImageDataset.image_keys, 'ref')

    ref: Literal['folder', 'gt', 'lq', 'noise'] | None = None
    dataroot_ref: str | None = None
    ref_size: int = 256

    def __post_init__(self) -> None:
        if self.ref is not None:
            self._choice('ref', ('folder', 'gt', 'lq', 'noise'))
        if self.ref == 'folder' and not self.dataroot_ref:
            raise UserError(f'{self}: `ref: folder` needs dataroot_ref, the folder of the reference images')
        if self.dataroot_ref and self.ref != 'folder':
            raise UserError(f'{self}: dataroot_ref is not used with ref {self.ref}; set `ref: folder`, or remove it')
        if self.ref_size < 1:
            raise UserError(f'{self}: ref_size is {self.ref_size}; set it to the side of the references, e.g. 256')
        super().__post_init__()
        self.references = References(self.dataroot_ref, self.ref_size, self.seed) if self.dataroot_ref else None

    @staticmethod
    def entries(block: Mapping[str, Any]) -> tuple[str, ...]:
        """The images of a sample of the data set that an option block describes."""
        return ('lq', 'gt') if block.get('ref') is None else ('lq', 'gt', 'ref')

    def raw(self, n: int) -> Sample:
        sample = super().raw(n)
        return sample if self.ref is None else sample | {'ref': self._reference(n, 0, sample)}

    def solution(self, n: int, k: int) -> dict[str, Any]:
        """The entries of sample n that differ in solution k."""
        return self.to_float({'ref': self._reference(n, k)}) if self.ref in ('folder', 'noise') else {}

    def check(self, unfit: Unfit | None = None) -> list[str]:
        return [*super().check(unfit), *(self.references.problems() if self.references else ())]

    def other_files(self) -> list[tuple[Folders, Path]]:
        return [(self.references.source, path) for path in self.references.paths] if self.references else []

    @classmethod
    def protocol(cls, block: Mapping[str, Any]) -> dict[str, str]:
        """How the references of the data set that an option block describes are chosen, for result files."""
        side = block.get('ref_size', cls.ref_size)
        chosen = {
            'folder': f'random images of {block.get("dataroot_ref")}, resized to {side}x{side} (bilinear, antialiased)',
            'gt': f'the ground truth, resized to {side}x{side} (bilinear, antialiased)',
            'lq': f'the LR image, resized to {side}x{side} (bicubic)',
            'noise': f'uniform noise in [0, {_NOISE}) of 255, {side}x{side}',
        }.get(block.get('ref', ''))
        return {} if chosen is None else {'references': chosen}

    def _reference(self, n: int, k: int, sample: Sample | None = None) -> np.ndarray:
        """(ref_size, ref_size, 3) uint8. References `gt` and `lq` are made from `sample`."""
        if sample is not None and self.ref in ('gt', 'lq'):
            return resized(sample[self.ref], self.ref_size, bicubic=self.ref == 'lq')
        if self.references is None:
            rng = np.random.default_rng((self.seed, n, _STREAM, k))
            return rng.integers(_NOISE, size=(self.ref_size, self.ref_size, 3), dtype=np.uint8)
        for step in range(len(self.references.paths)):
            try:
                return self.references.read(self.references.path(n, k + step))
            except UserError as error:
                if not self._skips():
                    raise
                logger.warning('%s: reference skipped: %s', self, error)
        raise UserError(f'{self}: no image in {self.dataroot_ref} can be used; `aesop check -opt FILE` shows why')


def resized(image: np.ndarray, side: int, bicubic: bool = False) -> np.ndarray:
    """(H, W, 3) uint8 or uint16 -> (side, side, 3) uint8 by Pillow's antialiased bilinear or bicubic filter."""
    if image.dtype == np.uint16:
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    method = Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize((side, side), method))
