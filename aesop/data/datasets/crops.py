"""Random crops for training, in an endless stream, and whole images for validation."""

import logging
import math
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from aesop.data.datasets.base import ImageDataset, Sample
from aesop.data.datasets.transforms import Window, augment, random_window
from aesop.data.storage.source import Size
from aesop.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False, repr=False)
class CropDataset(ImageDataset):
    """Pairs of ground truth and low-resolution image: whole images in order, or an endless stream of random crops.

    Without `gt_size` (validation), `dataset[n]` is image n, cropped to a multiple of `scale`. With it (training), any
    n >= 0 yields a crop: the image is entry n % len of epoch n // len, whose order comes from a generator seeded by
    (seed, epoch); position and symmetry come from one seeded by (seed, n).

    Args:
        scale: ground-truth pixels per low-resolution pixel, along each side.
        gt_size: side of the ground-truth crop; a multiple of `scale`.
        use_flip, use_hflip: allow horizontal flips; two names of one option, both must be true.
        use_rot: allow vertical flips and transposition: together with the above, all eight symmetries.
        use_shuffle: use a new order in each epoch instead of the order of the files.
        dataset_enlarge_ratio: length of an epoch as a multiple of the number of images.
        seed: seed of all random choices.
        on_error: `raise`, or `skip`: log an unusable image and, in training, use the next one of the epoch instead.
        max_skipped: fraction of the images that may be skipped (at least one) before the run ends.
    """

    transposed: ClassVar[float] = 0.5  # probability of transposing a crop, with use_rot

    scale: int = 4
    gt_size: int | None = None
    use_flip: bool = True
    use_hflip: bool = True
    use_rot: bool = True
    use_shuffle: bool = True
    dataset_enlarge_ratio: float = 1
    seed: int = 0
    on_error: Literal['raise', 'skip'] = 'raise'
    max_skipped: float = 0.01

    def __post_init__(self) -> None:
        self._choice('on_error', ('raise', 'skip'))
        if self.gt_size is not None and (self.gt_size < self.scale or self.gt_size % self.scale):
            raise UserError(f'{self}: gt_size {self.gt_size} is not a multiple of scale {self.scale}; make it one')
        if not 0 <= self.max_skipped <= 1:
            raise UserError(f'{self}: max_skipped is {self.max_skipped}; set it to a fraction between 0 and 1')
        self._order: tuple[int, np.ndarray] | None = None
        self.skipped: dict[int, str] = {}  # index of an unusable image -> reason
        super().__post_init__()

    def __len__(self) -> int:
        """Images per epoch; in validation, every image once."""
        return len(self.items) if self.gt_size is None else math.ceil(len(self.items) * self.dataset_enlarge_ratio)

    def raw(self, n: int) -> Sample:
        if self.gt_size is None:
            return self._whole(n)
        epoch, place = divmod(n, len(self))
        order = self._epoch(epoch)
        skipped: dict[int, str] = {}
        for step in range(len(order)):
            index = int(order[(place + step) % len(order)])
            try:
                sample = self._crop(index, np.random.default_rng((self.seed, n)))
                return sample | {'skipped': skipped} if skipped else sample
            except UserError as error:
                if not self._skips():
                    raise
                skipped[index] = str(error)
                if self._too_many(skipped):
                    break
        raise UserError(self._too_many(skipped) or f'{self}: no image can be used; `aesop check -opt FILE` shows why')

    def note_skipped(self, skipped: dict[int, str]) -> None:
        for index in skipped.keys() - self.skipped.keys():
            self.skipped[index] = skipped[index]
            count = f'{len(self.skipped)} of at most {self._most_skipped()}'
            logger.warning('%s: skipped (%s): %s', self, count, skipped[index])
        if problem := self._too_many(self.skipped):
            raise UserError(problem)

    def tolerates(self, count: int) -> bool:
        """Whether training continues with this many unusable images."""
        return self._skips() and count <= self._most_skipped()

    @abstractmethod
    def _cut(self, images: list[np.ndarray], window: Window) -> tuple[np.ndarray, ...]:
        """(gt, lq) cropped to `window`, in low-resolution pixels."""

    def _problem(self, item: tuple[Path, ...], sizes: list[Size]) -> str | None:
        (height, width), path = sizes[0], item[0]
        least = self.gt_size or self.scale
        if min(height, width) >= least:
            return None
        key = 'gt_size' if self.gt_size else 'scale'
        size = f'{height}x{width} pixels (height x width)'
        return f'{path}: {size} is smaller than the {key} of {least}; remove it or lower {key}'

    def _images(self, index: int) -> tuple[list[np.ndarray], int, int]:
        """The images of an item, and its low-resolution height and width."""
        item = self.items[index]
        images = [self._read(path) for path in item]
        if problem := self._problem(item, [image.shape[:2] for image in images]):
            raise UserError(problem)
        height, width = (side // self.scale for side in images[0].shape[:2])
        return images, height, width

    def _whole(self, index: int) -> Sample:
        images, height, width = self._images(index)
        gt, lq = self._cut(images, Window(0, 0, height, width))
        return {'lq': lq, 'gt': gt, 'name': self.names[index], 'index': index}

    def _crop(self, index: int, rng: np.random.Generator) -> Sample:
        images, height, width = self._images(index)
        window = random_window(height, width, (self.gt_size or 0) // self.scale, rng)
        flip = self.use_flip and self.use_hflip
        gt, lq = augment([*self._cut(images, window)], flip, self.use_rot, rng, self.transposed)
        return {'lq': lq, 'gt': gt, 'name': self.names[index], 'index': index}

    def _epoch(self, epoch: int) -> np.ndarray:
        """Order of the images in an epoch."""
        if self._order is None or self._order[0] != epoch:
            order = np.arange(len(self))
            if self.use_shuffle:
                rng = np.random.default_rng((self.seed, epoch, 1))  # 1: another stream than that of sample n == epoch
                order = rng.permutation(len(self))
            self._order = epoch, order % len(self.items)
        return self._order[1]

    def _skips(self) -> bool:
        return self.on_error == 'skip' and self.gt_size is not None

    def _most_skipped(self) -> int:
        return max(1, int(self.max_skipped * len(self.items)))

    def _too_many(self, skipped: dict[int, str]) -> str | None:
        if len(skipped) <= self._most_skipped():
            return None
        return (
            f'{self}: more than {self.max_skipped:.3g} of {len(self.items)} images are unusable, too many for '
            f'`on_error: skip`; repair or remove them, or raise max_skipped. The latest: {[*skipped.values()][-1]}'
        )
