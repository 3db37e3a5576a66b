"""The base class of image data sets: listing, reading and checking files."""

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from aesop.data.datasets.meta_info import read_meta_info
from aesop.data.datasets.transforms import Window
from aesop.data.storage.cache import DiskCache, decode_into_memory
from aesop.data.storage.source import SOURCES, Folders, Size
from aesop.errors import UserError
from aesop.utils.images import to_tensor, to_y

Sample = dict[str, Any]
Unfit = Callable[[Size], list[str]]

_LISTED = 20  # problems shown before "and N more"

logger = logging.getLogger(__name__)


def capped(problems: list[str], rest: str = '') -> list[str]:
    """The first problems and the number of others; `rest` says where to find those."""
    more = len(problems) - _LISTED
    return problems if more <= 0 else [*problems[:_LISTED], f'... and {more} more{rest}']


@dataclass(kw_only=True, eq=False, repr=False)
class ImageDataset(Dataset, ABC):
    """Data set of image files; a sample is `{'lq': Tensor, 'gt': Tensor, 'name': str, 'index': int}`.

    Tensors are (3, H, W) float32 RGB in [0, 1], before `mean` and `std`. `name` is the file's path relative to its
    folder, without extension; `index` its position among the images. Without ground truth (`has_gt` false) there is no
    `gt`.

    Args:
        name: name in logs and results.
        meta_info, meta_info_file: text file with one image per line, relative to the data root, in one of the formats
            of `read_meta_info`. Default: all images in the folder and its sub-folders.
        io_backend: `{type: disk}`, or `{type: lmdb}` if the data roots are LMDBs of BasicSR's layout.
        mean, std: per channel; samples become (x - mean) / std.
        color: `rgb`, or `y` for the BT.601 luma as a single channel.
        cache: where decoded images are kept, so that a crop reads only its own rows: `disk`, a file in `cache_dir`
            shared by workers, ranks and later runs; `ram`, the memory of each rank; `none`: each sample decodes whole
            images.
        cache_dir: folder of the decode caches.
    """

    has_gt: ClassVar[bool] = True
    image_keys: ClassVar[tuple[str, ...]] = ('lq', 'gt')  # entries of a sample that are images

    name: str = ''
    meta_info: str | None = None
    meta_info_file: str | None = None
    io_backend: dict[str, Any] | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    color: Literal['rgb', 'y'] = 'rgb'
    cache: Literal['none', 'ram', 'disk'] = 'none'
    cache_dir: str = 'datasets/.cache'

    def __post_init__(self) -> None:
        backend = (self.io_backend or {}).get('type', 'disk')
        if backend not in SOURCES:
            raise UserError(f'{self}: io_backend `type: {backend}` is not known; use {" or ".join(SOURCES)}')
        self._source = SOURCES[backend]()
        self._choice('color', ('rgb', 'y'))
        self._choice('cache', ('none', 'ram', 'disk'))
        self._decoded: Mapping[Path, np.ndarray] | None = None
        self.left_out: dict[str, str] = {}  # name -> reason; see `leave_out_unusable`
        self.items, self.names = self._find()

    def __str__(self) -> str:
        return f'{type(self).__name__} "{self.name}"' if self.name else type(self).__name__

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, n: int) -> Sample:
        sample = self.raw(n)
        self.note_skipped(sample.pop('skipped', {}))
        return self.to_float(sample)

    @abstractmethod
    def raw(self, n: int) -> Sample:
        """Sample n with the values of the files: `lq` and `gt` are (h, w, 3) uint8 or uint16 arrays.

        The loader stacks and copies these, a quarter of the size of floats, and converts whole batches.
        """

    def to_float(self, sample: Sample) -> Sample:
        """Converts a sample of `raw`, or a batch of them with (N, h, w, 3) uint8 tensors, to float tensors."""
        return {key: self._tensor(value) if key in self.image_keys else value for key, value in sample.items()}

    def note_skipped(self, skipped: dict[int, str]) -> None:
        """Called with the images, by index, that could not be used for a sample, and why."""

    def open(self) -> None:
        """Opens or builds the decode cache; loaders call it before they start workers.

        Raises:
            UserError: not enough space for the cache, or images that cannot be decoded (all are listed).
        """
        if self._decoded is not None:
            return
        paths = self._paths()
        if self.cache == 'ram':
            decoded = decode_into_memory(str(self), paths, self._source.read, self._source.decoded_bytes(paths))
        elif self.cache == 'disk':
            decoded = self._disk_cache(paths)
            if not decoded.open():
                decoded.build(self._source.read, self._source.decoded_bytes(paths))
        else:
            decoded = {}
        if self.cache != 'none' and not self._skips():
            left_out = [path for path in paths if path not in decoded]
            if problems := [*filter(None, map(self._source.fault, left_out))]:
                raise UserError(capped(problems))
        self._decoded = decoded

    def _find(self) -> tuple[list[tuple[Path, ...]], list[str]]:
        """The files and the name of each sample; by default, a sample is one file of the only data root."""
        root = getattr(self, 'dataroot_gt' if self.has_gt else 'dataroot_lq')
        paths = self._list(root)
        return [(path,) for path in paths], [below(root, path) for path in paths]

    def _problem(self, item: tuple[Path, ...], sizes: list[Size]) -> str | None:
        """Why the files of a sample, given their sizes, cannot be used, or None."""
        return None

    def check(self, unfit: Unfit | None = None) -> list[str]:
        """Problems of the files that their first and last bytes show, one sentence each.

        Args:
            unfit: called with the size of the first file of each item, returns further problems.
        """
        problems = list(dict.fromkeys(problem for found in self._faults(unfit).values() for problem in found))
        if self.cache == 'disk' and not (cache := self._disk_cache(self._paths())).open():
            problems += cache.problems(self._source.decoded_bytes(cache.stamps))
        for name, count in Counter(self.names).items():
            if count > 1:
                problems.append(f'{self}: {count} images are named {name}; rename them, results are saved by name')
        return problems

    def leave_out_unusable(self, unfit: Unfit | None = None) -> None:
        """Removes the images that `check` reports, and lists them in `left_out`.

        Raises:
            UserError: no image is left.
        """
        faults = self._faults(unfit)
        self.left_out |= {self.names[n]: '; '.join(found) for n, found in faults.items()}
        kept = [n for n in range(len(self.items)) if n not in faults]
        self.items, self.names = [self.items[n] for n in kept], [self.names[n] for n in kept]
        if not kept:
            raise UserError([f'{self}: none of the images can be used', *self.left_out.values()])

    def _faults(self, unfit: Unfit | None) -> dict[int, list[str]]:
        """Index in `items` -> the problems of its files; usable items are missing."""
        paths = self._paths()
        with ThreadPoolExecutor(16) as pool:
            sizes = dict(zip(paths, pool.map(self._size_or_problem, paths), strict=True))
        faults = {}
        for n, item in enumerate(self.items):
            found = [size for path in item if isinstance(size := sizes[path], str)]
            of_item = [size for path in item if not isinstance(size := sizes[path], str)]
            if not found and (problem := self._problem(item, of_item)):
                found = [problem]
            if not found and unfit:
                found = [f'{item[0]}: {problem}' for problem in unfit(of_item[0])]
            if found:
                faults[n] = found
        return faults

    def other_files(self) -> list[tuple[Folders, Path]]:
        """Further images that samples are made of, each with its source."""
        return []

    def _list(self, root: str | Path) -> list[Path]:
        """The images of a data root."""
        meta = self._meta()
        if not meta:
            return self._source.list(root)
        if not Path(root).is_dir():
            raise UserError(f'{root}: folder not found; correct the path or put the images there')
        return self._below(root, [names[0] for names in read_meta_info(meta)])

    def _below(self, root: str | Path, names: list[str]) -> list[Path]:
        """Paths of the images in `meta_info`."""
        paths = [Path(root, name) for name in names]
        if outside := [path for path in paths if not path.is_relative_to(root)]:
            raise UserError(f'{self._meta()}: {outside[0]} is not in {root}; write paths relative to that folder')
        return paths

    def _meta(self) -> str | None:
        return self.meta_info or self.meta_info_file

    def _paths(self) -> list[Path]:
        """All files of the samples."""
        return sorted({path for item in self.items for path in item})

    def _read(self, path: Path) -> np.ndarray:
        """(H, W, 3) uint8 or uint16, read-only where it comes from a cache."""
        if self._decoded is None:
            self.open()
        image = (self._decoded or {}).get(path)
        return self._source.read(path) if image is None else image

    def _part(self, image: np.ndarray, window: Window) -> np.ndarray:
        """A rectangle of an image, as a view."""
        part = window.cut(image)
        if isinstance(self._decoded, DiskCache):
            self._decoded.read_ahead(part)
        return part

    def _size_or_problem(self, path: Path) -> Size | str:
        try:
            return self._source.size(path)
        except UserError as error:
            return str(error)

    def _disk_cache(self, paths: Sequence[Path]) -> DiskCache:
        roots = [value for key, value in vars(self).items() if key.startswith(('dataroot', 'meta_info')) and value]
        return DiskCache(str(self), self.cache_dir, roots, self._source.stamps(paths))

    def _skips(self) -> bool:
        """Whether unusable images are skipped."""
        return False

    def _tensor(self, image: np.ndarray | Tensor) -> Tensor:
        # 16-bit images in a batch are floats already
        tensor = image if isinstance(image, Tensor) and image.is_floating_point() else to_tensor(image)
        if self.color == 'y':
            tensor = to_y(tensor)
        if self.mean is not None:
            tensor = tensor - tensor.new_tensor(self.mean).view(-1, 1, 1)
        if self.std is not None:
            tensor = tensor / tensor.new_tensor(self.std).view(-1, 1, 1)
        return tensor

    def _choice(self, key: str, known: tuple[str, ...]) -> None:
        if getattr(self, key) not in known:
            raise UserError(f'{self}: {key} is {getattr(self, key)!r}; set it to {" or ".join(known)}')


def below(root: str | Path, path: Path) -> str:
    """Path of the image relative to `root`, without extension, with forward slashes."""
    return path.relative_to(root).with_suffix('').as_posix()
