"""What all image data sets share: listing, reading, checking; and the endless random stream of training crops."""

import logging
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from aesop.data.transforms import Window, augment, random_window
from aesop.errors import UserError
from aesop.images import has_end, image_size, list_images, read_image, to_tensor, to_y

Size = tuple[int, int]  # (height, width)

_SKIPPED_SHARE = 0.01  # of the images, at most, may be left out by on_error: skip (one in any case)
_LISTED = 20  # problems told before "and N more"

logger = logging.getLogger(__name__)


def capped(problems: list[str]) -> list[str]:
    """The first problems and how many more there are."""
    more = len(problems) - _LISTED
    return problems if more <= 0 else [*problems[:_LISTED], f'... and {more} more']


@dataclass(kw_only=True, eq=False, repr=False)
class ImageDataset(Dataset, ABC):
    """Files that belong together, read into a sample: `{'lq': Tensor, 'gt': Tensor, 'name': str, 'index': int}`.

    Tensors are (3, H, W) float32 RGB in [0, 1], before `mean` and `std`. `name` is the file's path below its folder,
    without suffix; `index` its place among the images. Sets without ground truth (`has_gt` false) have no `gt`.

    Args:
        name: what the data set is called in logs and results.
        meta_info, meta_info_file: a text file with one image a line, relative to the data root; what follows after a
            space is ignored. Without it, all images of the folder and its sub-folders are used.
        io_backend: `{type: disk}`.
        mean, std: per channel; samples become (x - mean) / std.
        color: `rgb`, or `y` for the BT.601 luma as a single channel.
        cache: `ram` keeps every decoded image in memory, once a worker; `none` reads anew each time.
    """

    has_gt: ClassVar[bool] = True

    name: str | None = None
    meta_info: str | None = None
    meta_info_file: str | None = None
    io_backend: dict[str, Any] | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    color: Literal['rgb', 'y'] = 'rgb'
    cache: Literal['none', 'ram'] = 'none'

    def __post_init__(self) -> None:
        backend = (self.io_backend or {}).get('type', 'disk')
        if backend != 'disk':
            raise UserError(f'{self}: io_backend `type: {backend}` is not available yet; unpack it, use `type: disk`')
        self._choice('color', ('rgb', 'y'))
        self._choice('cache', ('none', 'ram'))
        self._decoded: dict[Path, np.ndarray] = {}
        self.items, self.names = self._find()

    def __str__(self) -> str:
        return f'{type(self).__name__} "{self.name}"' if self.name else type(self).__name__

    def __len__(self) -> int:
        return len(self.items)

    @abstractmethod
    def __getitem__(self, n: int) -> dict[str, Any]:
        """Sample n."""

    @abstractmethod
    def _find(self) -> tuple[list[tuple[Path, ...]], list[str]]:
        """The files of each sample, and the samples' names."""

    def _problem(self, item: tuple[Path, ...], sizes: list[Size]) -> str | None:
        """What keeps the files of a sample, of these sizes, from being used."""
        return None

    def check(self) -> list[str]:
        """What is wrong with the files, as far as their first and last bytes tell, one sentence each."""
        paths = sorted({path for item in self.items for path in item})
        with ThreadPoolExecutor(16) as pool:
            sizes = dict(zip(paths, pool.map(_size_or_problem, paths), strict=True))
        problems = [size for size in sizes.values() if isinstance(size, str)]
        for item in self.items:
            of_item = [sizes[path] for path in item]
            if not any(isinstance(size, str) for size in of_item) and (problem := self._problem(item, of_item)):
                problems.append(problem)
        for name, count in Counter(self.names).items():
            if count > 1:
                problems.append(f'{self}: {count} images are called {name}; rename them, results are saved by name')
        return capped(problems)

    def _list(self, root: str | Path) -> list[Path]:
        meta = self.meta_info or self.meta_info_file
        if not meta:
            return list_images(root)
        if not Path(root).is_dir():
            raise UserError(f'{root}: there is no such folder; correct the path or put the images there')
        if not Path(meta).is_file():
            raise UserError(f'{meta}: there is no such file; correct meta_info, or leave it out to use all images')
        lines = Path(meta).read_text(encoding='utf-8').splitlines()
        paths = [Path(root, line.split()[0]) for line in lines if line.strip()]
        if not paths:
            raise UserError(f'{meta}: this file names no image; write one path a line, relative to {root}')
        if outside := [path for path in paths if not path.is_relative_to(root)]:
            raise UserError(f'{meta}: {outside[0]} is not in {root}; write paths relative to that folder')
        return paths

    def _read(self, path: Path) -> np.ndarray:
        image = self._decoded.get(path)
        if image is None:
            image = read_image(path)
            if self.cache == 'ram':
                self._decoded[path] = image
        return image

    def _tensor(self, image: np.ndarray) -> Tensor:
        tensor = to_tensor(image)
        if self.color == 'y':
            tensor = to_y(tensor)
        if self.mean is not None:
            tensor = tensor - torch.tensor(self.mean).view(-1, 1, 1)
        if self.std is not None:
            tensor = tensor / torch.tensor(self.std).view(-1, 1, 1)
        return tensor

    def _choice(self, key: str, known: tuple[str, ...]) -> None:
        if getattr(self, key) not in known:
            raise UserError(f'{self}: {key} is {getattr(self, key)!r}; set it to {" or ".join(known)}')


@dataclass(kw_only=True, eq=False, repr=False)
class CropDataset(ImageDataset):
    """Pairs of ground truth and low-resolution image: whole images in order, or an endless stream of random crops.

    Without `gt_size` (validation), `dataset[n]` is image n, cut to a multiple of `scale`. With it (training), any
    n >= 0 gives a crop: the image is entry n % len of epoch n // len, whose order comes from a generator seeded by
    (seed, epoch); position and symmetry come from one seeded by (seed, n).

    Args:
        scale: ground-truth pixels per low-resolution pixel, along each side.
        gt_size: side of the ground-truth crop; a multiple of `scale`.
        use_flip, use_hflip: allow left-right mirroring (both must hold; two names of one thing).
        use_rot: allow upside-down mirroring and transposing, with the above all eight symmetries.
        use_shuffle: a new order in each epoch; otherwise the files' order.
        dataset_enlarge_ratio: images an epoch, as a multiple of the images there are.
        seed: of all random choices.
        on_error: `raise`, or `skip` (training only): an unusable image is logged and the next one of the epoch taken
            in its place, for up to 1% of the images.
    """

    scale: int = 4
    gt_size: int | None = None
    use_flip: bool = True
    use_hflip: bool = True
    use_rot: bool = True
    use_shuffle: bool = True
    dataset_enlarge_ratio: float = 1
    seed: int = 0
    on_error: Literal['raise', 'skip'] = 'raise'

    def __post_init__(self) -> None:
        self._choice('on_error', ('raise', 'skip'))
        if self.gt_size is not None and (self.gt_size < self.scale or self.gt_size % self.scale):
            raise UserError(f'{self}: gt_size {self.gt_size} is not a multiple of scale {self.scale}; make it one')
        self._order: tuple[int, np.ndarray] | None = None
        self._skipped: set[int] = set()
        super().__post_init__()

    def __len__(self) -> int:
        """Images an epoch; whole images (validation) come once each."""
        return len(self.items) if self.gt_size is None else math.ceil(len(self.items) * self.dataset_enlarge_ratio)

    def __getitem__(self, n: int) -> dict[str, Any]:
        if self.gt_size is None:
            return self._sample(n, None)
        epoch, place = divmod(n, len(self))
        order = self._epoch(epoch)
        for step in range(len(order)):
            index = int(order[(place + step) % len(order)])
            try:
                return self._sample(index, np.random.default_rng((self.seed, n)))
            except UserError as error:
                self._skip(index, error)
        raise UserError(f'{self}: no image can be used; run its check() to see why')

    @abstractmethod
    def _cut(self, images: list[np.ndarray], window: Window) -> tuple[np.ndarray, np.ndarray]:
        """(gt, lq) under `window`, given in low-resolution pixels."""

    def _problem(self, item: tuple[Path, ...], sizes: list[Size]) -> str | None:
        (height, width), path = sizes[0], item[0]
        least = self.gt_size or self.scale
        if min(height, width) >= least:
            return None
        key = 'gt_size' if self.gt_size else 'scale'
        size = f'{height}x{width} pixels (height x width)'
        return f'{path}: {size} is smaller than the {key} of {least}; remove it or lower {key}'

    def _sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
        item = self.items[index]
        images = [self._read(path) for path in item]
        if problem := self._problem(item, [image.shape[:2] for image in images]):
            raise UserError(problem)
        height, width = (side // self.scale for side in images[0].shape[:2])
        if rng is None:
            gt, lq = self._cut(images, Window(0, 0, height, width))
        else:
            window = random_window(height, width, self.gt_size // self.scale, rng)
            gt, lq = augment([*self._cut(images, window)], self.use_flip and self.use_hflip, self.use_rot, rng)
        return {'lq': self._tensor(lq), 'gt': self._tensor(gt), 'name': self.names[index], 'index': index}

    def _epoch(self, epoch: int) -> np.ndarray:
        """The images of an epoch, in order."""
        if not self.use_shuffle:
            return np.arange(len(self)) % len(self.items)
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng((self.seed, epoch, 1))  # 1: another stream than that of sample n == epoch
            self._order = epoch, rng.permutation(len(self)) % len(self.items)
        return self._order[1]

    def _skip(self, index: int, error: UserError) -> None:
        if self.on_error == 'raise':
            raise error
        if index not in self._skipped:
            logger.warning('%s: skipped: %s', self, error)
            self._skipped.add(index)
        if len(self._skipped) > max(1, _SKIPPED_SHARE * len(self.items)):
            raise UserError(
                f'{self}: more than {_SKIPPED_SHARE:.0%} of {len(self.items)} images are unusable, '
                f'too many for `on_error: skip`; repair or remove them. The latest: {error}'
            )


def below(root: str | Path, path: Path) -> str:
    """The image's path below `root`, without suffix, with forward slashes."""
    return path.relative_to(root).with_suffix('').as_posix()


def _size_or_problem(path: Path) -> Size | str:
    try:
        size = image_size(path)
        if not has_end(path):
            read_image(path)  # tells whether it matters
        return size
    except UserError as error:
        return str(error)
