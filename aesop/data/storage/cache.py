"""Caches of decoded images, so that training does not decode a whole image for each crop.

On disk the images are one array in a `.npy` file, mapped into memory by all workers and ranks: a crop reads only its
own rows. A `.json` file beside it records the position of each image, and the files with their sizes and times.
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
_VERSION = 1  # of the layout and of the decoding
_ALIGNMENT = 64  # images begin at multiples of this many bytes
_RESERVE = 10**9  # bytes left free on the disk
_BUSY = 5.0  # seconds between two attempts to take the lock

Read = Callable[[Path], np.ndarray]
Place = tuple[int, list[int], str]  # offset, [height, width] and dtype of an image
Result = TypeVar('Result')

logger = logging.getLogger(__name__)


def decode_into_memory(name: str, paths: Sequence[Path], read: Read, size: int) -> dict[Path, np.ndarray]:
    """Decodes the images; those that cannot be read are missing. Workers forked later share the memory.

    Args:
        name: name of the data set.
        read: returns an (H, W, 3) uint8 or uint16 array, or raises UserError.
        size: approximate size of all decoded images in bytes.

    Raises:
        UserError: the images are larger than the machine's memory.
    """
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    if size > memory:
        has = f'the machine has {memory / GB:.3g} GB'
        raise UserError(f'{name}: `cache: ram` needs {size / GB:.3g} GB, but {has}; use `cache: disk`')
    found = _in_threads(f'{name}: {size / GB:.3g} GB into memory', paths, lambda path: _image_or_none(read, path))
    return {path: image for path, image in found if image is not None}


class DiskCache(Mapping[Path, np.ndarray]):
    """The decoded images of a data set, memory-mapped and read-only; images that cannot be decoded are missing.

    Data sets with the same roots share one file, across processes too. The cache is valid only for exactly these images
    with these file sizes and times; otherwise it is replaced.

    Args:
        name: name of the data set.
        folder: folder of the cache.
        roots: folders and lists of the images.
        stamps: path of each image -> size and time of its file; None if there is no file.
    """

    def __init__(
        self, name: str, folder: str | Path, roots: Iterable[str | Path], stamps: Mapping[Path, Stamp | None]
    ) -> None:
        self.name, self.folder, self.stamps = name, Path(folder), stamps
        key = sha256(os.fsencode('\n'.join(os.path.abspath(root) for root in roots))).hexdigest()
        self._index = self.folder / f'{key[:24]}.json'
        self._places: dict[Path, Place] = {}
        self._array = Path()
        self._pixels: Any = None  # once the file is mapped
        self._file: Any = None
        self._begin = 0  # offset of the pixels in the file

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
        """Reads the rows of a part of an image at once; on page faults the system would read far more."""
        start = _address(part) - _address(self._pixels)
        if 0 <= start < self._pixels.size and hasattr(mmap, 'MADV_WILLNEED'):
            length = (len(part) - 1) * part.strides[0] + part.shape[1] * part.strides[1]
            begin = (start + self._begin) // mmap.PAGESIZE * mmap.PAGESIZE
            self._file.madvise(mmap.MADV_WILLNEED, begin, start + self._begin + length - begin)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {'_pixels': None, '_file': None}  # each process maps the file itself

    def open(self) -> bool:
        """Opens the cache and returns True if it is valid for these files; otherwise returns False."""
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
        """Builds and opens the cache, or waits for another process that is building it.

        Args:
            read, size: as in `decode_into_memory`.

        Raises:
            UserError: the folder is not writable, or there is not enough space on its disk.
        """
        with _os_errors_as_user_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with _locked(self._index.with_suffix('.lock'), self.name):
                if not self.open():
                    self._build(read, size)
                    self.open()

    def problems(self, size: int) -> list[str]:
        """Why a cache of `size` bytes cannot be built."""
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
        for path in self._old():  # processes that have it mapped can still read it
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
            if end > free:  # the headers of some formats do not give the bit depth
                raise UserError(self._too_full(end, free))
            with open(array, 'r+b') as file:
                file.seek(offset)
                file.write(np.ascontiguousarray(image).data)  # `tofile` does not report the cause of an error
            return offset - start, list(image.shape[:2]), image.dtype.name

        found = _in_threads(f'{self.name}: {size / GB:.3g} GB into {self.folder}', list(self.stamps), store)
        places = {path: place for path, place in found if place is not None}
        with open(array, 'r+b') as file:
            _write_header(file, end - start)
            file.truncate(end)
            os.fsync(file.fileno())
        return places

    def _old(self) -> list[Path]:
        """Arrays of earlier builds: of other files, or unfinished."""
        return list(self.folder.glob(f'{self._index.stem}.*.npy'))

    def _free(self) -> int:
        existing = next(path for path in (self.folder.absolute(), *self.folder.absolute().parents) if path.exists())
        return shutil.disk_usage(existing).free - _RESERVE

    def _too_full(self, size: int, free: int) -> str:
        return (
            f'{self.name}: `cache: disk` needs {size / GB:.3g} GB, but only {max(free, 0) / GB:.3g} GB can be used in '
            f'{self.folder} ({_RESERVE / GB:.0f} GB are kept free); free some space, set cache_dir to a folder on '
            'another disk, or use `cache: none`'
        )


def _address(array: np.ndarray) -> int:
    return array.__array_interface__['data'][0]


def _write_header(file: Any, length: int) -> None:  # noqa: ANN401
    """Writes the header of a .npy file of `length` bytes. Its size does not depend on `length`: it can be rewritten."""
    np.lib.format.write_array_header_1_0(file, {'descr': '|u1', 'fortran_order': False, 'shape': (length,)})


def _image_or_none(read: Read, path: Path) -> np.ndarray | None:
    try:
        return read(path)
    except UserError:  # reported when the data set is opened or the image used
        return None


def _in_threads(title: str, paths: Sequence[Path], function: Callable[[Path], Result]) -> Iterator[tuple[Path, Result]]:
    """Yields (path, function(path)) in order, computed in threads, with a progress bar."""
    level = logging.INFO if distributed.is_main() else logging.WARNING  # INFO is shown on the main rank only
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
def _os_errors_as_user_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = 'set cache_dir to another folder, make room in this one, or use `cache: none`'
        raise UserError(f'{folder}: the decode cache cannot be written there ({error}); {remedy}') from None
