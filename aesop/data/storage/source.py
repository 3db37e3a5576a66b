"""Image sources: folders and LMDBs. In both, an image is identified by its path."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from aesop.data.storage import lmdb
from aesop.errors import UserError
from aesop.utils.images import decode_image, has_end, image_kind, image_size, list_images, read_image

Size = tuple[int, int]  # (height, width)
Stamp = tuple[int, int]  # size of a file in bytes, and its modification time in nanoseconds


class Folders:
    """`io_backend: {type: disk}`: every image is a file."""

    def list(self, root: str | Path) -> list[Path]:
        """All images below a data root."""
        return list_images(root)

    def read(self, path: Path) -> np.ndarray:
        """(H, W, 3) uint8 or uint16, or UserError."""
        return read_image(path)

    def content(self, path: Path) -> bytes | None:
        """The encoded image if it is part of another file, else None."""
        return None

    def file(self, path: Path) -> Path:
        """The file that contains the image."""
        return path

    def size(self, path: Path) -> Size:
        """(height, width) from the header; UserError if the first or last bytes show that the file is damaged."""
        data = self.content(path)
        size = image_size(path, data)
        return size if has_end(path, data) else self.read(path).shape[:2]  # decoding shows whether it matters

    def kind(self, path: Path) -> str:
        """Format and mode from the header, e.g. `PNG RGB` or `JPEG L`; UserError if it is not an image."""
        return image_kind(path, self.content(path))

    def fault(self, path: Path) -> str | None:
        """Why an image cannot be decoded, or None."""
        try:
            self.read(path)
        except UserError as error:
            return str(error)
        return None

    def decoded_bytes(self, paths: Iterable[Path]) -> int:
        """Size of the decoded images according to their headers; two bytes per channel for 16-bit PNGs."""
        with ThreadPoolExecutor(16) as pool:
            return sum(pool.map(self._bytes, paths))

    def _bytes(self, path: Path) -> int:
        try:
            data = self.content(path)
            height, width = image_size(path, data)
        except UserError:
            return 0
        if data is None:
            with open(path, 'rb') as file:
                data = file.read(25)
        return height * width * 3 * (2 if data.startswith(b'\x89PNG') and data[24] == 16 else 1)

    def stamps(self, paths: Iterable[Path]) -> dict[Path, Stamp | None]:
        """Size and time of the file of each image; None if it is missing."""
        paths = list(paths)
        found = {file: _stamp(file) for file in {self.file(path) for path in paths}}
        return {path: found[self.file(path)] for path in paths}


class Lmdb(Folders):
    """`io_backend: {type: lmdb}`: the data roots are LMDBs of BasicSR's layout."""

    def list(self, root: str | Path) -> list[Path]:
        return lmdb.list_images(root)

    def read(self, path: Path) -> np.ndarray:
        return decode_image(lmdb.read_bytes(path), path)

    def content(self, path: Path) -> bytes:
        return lmdb.read_bytes(path)

    def file(self, path: Path) -> Path:
        return lmdb.root_of(path) / 'data.mdb'


SOURCES = {'disk': Folders, 'lmdb': Lmdb}


def _stamp(file: Path) -> Stamp | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
