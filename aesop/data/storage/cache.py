"""Decoded images, so that training does not decode a whole image for each crop.

On a disk they are one array in a `.npy` file, mapped into memory by all workers and ranks: a crop reads its own rows
alone. A `.json` file beside it says where each image lies, and of which file, size and time it was made.
"""

import json
import logging
import mmap
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar
from uuid import uuid4

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from aesop.data.preparation.parallel import cores
from aesop.data.storage.source import Stamp
from aesop.errors import UserError
from aesop.utils import distributed
from aesop.utils.files import write_text

GB = 1e9
_VERSION = 1  # of the layout and of what decoding gives
_ALIGNMENT = 64  # bytes: images begin at multiples of it
_RESERVE = 10**9  # bytes that are left free on a disk
_BUSY = 5.0  # seconds between two looks at a lock that another process holds

Read = Callable[[Path], np.ndarray]
Place = tuple[int, list[int], str]  # an image's offset, its height and width, its type
Result = TypeVar('Result')

logger = logging.getLogger(__name__)


def decode_into_memory(name: str, paths: Sequence[Path], read: Read, size: int) -> dict[Path, np.ndarray]:
    """The images, but for those that cannot be read. Workers forked later share them.

    Args:
        name: of the data set.
        read: gives an (H, W, 3) uint8 or uint16 array, or raises UserError.
        size: bytes of all images, about.

    Raises:
        UserError: they are larger than the machine's memory.
    """
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    if size > memory:
        has = f'the machine has {memory / GB:.3g} GB'
        raise UserError(f'{name}: `cache: ram` takes {size / GB:.3g} GB, and {has}; use `cache: disk`')
    found = _each(f'{name}: {size / GB:.3g} GB into memory', paths, lambda path: _image_or_none(read, path))
    return {path: image for path, image in found if image is not None}


class DiskCache(Mapping[Path, np.ndarray]):
    """The decoded images of a data set; read-only, mapped. What cannot be decoded is not in it.

    Data sets with the same roots share one file, in this process and in others. It is never stale: it holds for just
    these images, with these sizes and times of their files. A cache of others with the same roots is replaced.

    Args:
        name: of the data set.
        folder: where the files are kept.
        roots: the folders and lists that the images are found by.
        stamps: each image's path, and its file's size and time; None where there is no file.
    """

    def __init__(
        self, name: str, folder: str | Path, roots: Iterable[str | Path], stamps: Mapping[Path, Stamp | None]
    ) -> None:
        self.name, self.folder, self.stamps = name, Path(folder), stamps
        key = sha256(os.fsencode('\n'.join(os.path.abspath(root) for root in roots))).hexdigest()
        self._index = self.folder / f'{key[:24]}.json'
        self._places: dict[Path, Place] = {}
        self._array = Path()
        self._pixels: Any = None  # and the file that holds them, once it is mapped
        self._file: Any = None
        self._begin = 0  # of the pixels in the file

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Path]:
        return iter(self._places)

    def __getitem__(self, path: Path) -> np.ndarray:
        offset, (height, width), dtype = self._places[path]
        pixels = self._map() if self._pixels is None else self._pixels
        size = height * width * 3 * np.dtype(dtype).itemsize
        return pixels[offset : offset + size].view(dtype).reshape(height, width, 3)

    def read_ahead(self, part: np.ndarray) -> None:
        """Has the rows that a part of an image lies in read at once; page by page they would come with far more."""
        start = _address(part) - _address(self._pixels)
        if 0 <= start < self._pixels.size and hasattr(mmap, 'MADV_WILLNEED'):
            length = (len(part) - 1) * part.strides[0] + part.shape[1] * part.strides[1]
            begin = (start + self._begin) // mmap.PAGESIZE * mmap.PAGESIZE
            self._file.madvise(mmap.MADV_WILLNEED, begin, start + self._begin + length - begin)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {'_pixels': None, '_file': None}  # another process maps the file itself

    def open(self) -> bool:
        """Whether there is a cache of just these files; then its images are there from now on."""
        try:
            index = json.loads(self._index.read_text(encoding='utf-8'))
            array = self.folder / index['array']
            if index['sources'] != self._sources() or array.stat().st_size != index['bytes']:
                return False
            paths = list(self.stamps)
            self._places = {paths[n]: (offset, shape, dtype) for n, offset, shape, dtype in index['images']}
            self._array = array
            self._map()
        except (OSError, ValueError, LookupError, TypeError):
            return False
        return True

    def build(self, read: Read, size: int) -> None:
        """Builds and opens it; where another process builds it already, waits for that.

        Args:
            read, size: as in `decode_into_memory`.

        Raises:
            UserError: the folder cannot be written to, or its disk is too full.
        """
        with _sentences(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with _locked(self._index.with_suffix('.lock'), self.name):
                if not self.open():
                    self._build(read, size)
                    self.open()

    def problems(self, size: int) -> list[str]:
        """What keeps a cache of `size` bytes from being built."""
        free = self._free() + sum(path.stat().st_size for path in self._old())
        return [] if size <= free else [self._too_full(size, free)]

    def _sources(self) -> list[Any]:
        return [_VERSION, *([os.path.abspath(path), *(stamp or ())] for path, stamp in self.stamps.items())]

    def _map(self) -> np.ndarray:
        mapped = np.load(self._array, mmap_mode='r', allow_pickle=False)
        self._pixels, self._file, self._begin = np.asarray(mapped), mapped.base, mapped.offset
        return self._pixels

    def _build(self, read: Read, size: int) -> None:
        self._index.unlink(missing_ok=True)
        for path in self._old():  # whoever has it mapped keeps it
            path.unlink()
        free = self._free()
        if size > free:
            raise UserError(self._too_full(size, free))
        array = self._index.with_suffix(f'.{uuid4().hex[:8]}.npy')
        try:
            places = self._write(array, read, size, free)
            numbers = {path: n for n, path in enumerate(self.stamps)}
            index = {
                'array': array.name,
                'bytes': array.stat().st_size,
                'sources': self._sources(),
                'images': [[numbers[path], *place] for path, place in places.items()],
            }
            write_text(self._index, json.dumps(index))
        except BaseException:
            array.unlink(missing_ok=True)
            raise

    def _write(self, array: Path, read: Read, size: int, free: int) -> dict[Path, Place]:
        with open(array, 'wb') as file:
            _write_header(file, 0)
            start = end = file.tell()
        lock = Lock()

        def store(path: Path) -> Place | None:
            nonlocal end
            image = _image_or_none(read, path)
            if image is None:
                return None
            with lock:
                offset, end = end, -(-(end + image.nbytes) // _ALIGNMENT) * _ALIGNMENT
            if end > free:  # there are formats whose headers do not tell how many bits a pixel has
                raise UserError(self._too_full(end, free))
            with open(array, 'r+b') as file:
                file.seek(offset)
                file.write(np.ascontiguousarray(image).data)  # `tofile` does not say what went wrong
            return offset - start, list(image.shape[:2]), image.dtype.name

        found = _each(f'{self.name}: {size / GB:.3g} GB into {self.folder}', list(self.stamps), store)
        places = {path: place for path, place in found if place is not None}
        with open(array, 'r+b') as file:
            _write_header(file, end - start)
            file.truncate(end)
            os.fsync(file.fileno())
        return places

    def _old(self) -> list[Path]:
        """What builds before left: of other sources, or not finished."""
        return list(self.folder.glob(f'{self._index.stem}.*.npy'))

    def _free(self) -> int:
        existing = next(path for path in (self.folder.absolute(), *self.folder.absolute().parents) if path.exists())
        return shutil.disk_usage(existing).free - _RESERVE

    def _too_full(self, size: int, free: int) -> str:
        return (
            f'{self.name}: `cache: disk` takes {size / GB:.3g} GB, and {max(free, 0) / GB:.3g} GB can be used in '
            f'{self.folder} ({_RESERVE / GB:.0f} GB are left free); free some, set cache_dir to a folder on another '
            'disk, or use `cache: none`'
        )


def _address(array: np.ndarray) -> int:
    return array.__array_interface__['data'][0]


def _write_header(file: Any, length: int) -> None:  # noqa: ANN401
    """The start of a .npy file of `length` bytes. NumPy makes it equally long for any length: it can be rewritten."""
    np.lib.format.write_array_header_1_0(file, {'descr': '|u1', 'fortran_order': False, 'shape': (length,)})


def _image_or_none(read: Read, path: Path) -> np.ndarray | None:
    try:
        return read(path)
    except UserError:  # told when the data set is opened, or the image drawn
        return None


def _each(title: str, paths: Sequence[Path], function: Callable[[Path], Result]) -> Iterator[tuple[Path, Result]]:
    """(path, function(path)) of each path in turn, computed in threads, with a progress bar."""
    level = logging.INFO if distributed.is_main() else logging.WARNING  # whichever rank does it, tells
    logger.log(level, '%s: decoding %d images, once', title, len(paths))
    bar = tqdm(total=len(paths), desc=title, unit='image', dynamic_ncols=True, disable=None)
    with ThreadPoolExecutor(cores()) as pool, bar:
        try:
            for path, result in zip(paths, pool.map(function, paths)):
                bar.update()
                yield path, result
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _locked(path: Path, name: str) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info('%s: another process decodes its images into the cache; waiting for it', name)
    while not lock.is_locked:
        with suppress(Timeout):
            lock.acquire(timeout=_BUSY)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _sentences(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = 'set cache_dir to another folder, make room in this one, or use `cache: none`'
        raise UserError(f'{folder}: the decode cache cannot be kept there ({error}); {remedy}') from None
