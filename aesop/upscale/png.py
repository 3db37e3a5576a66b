"""Writing a PNG row by row, so that an image need not lie in memory (PNG specification, third edition)."""

import struct
import zlib
from typing import BinaryIO

import numpy as np

SIGNATURE = b'\x89PNG\r\n\x1a\n'
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels: grey, grey with alpha, RGB, RGBA (table 8)
LEVEL = 3  # of compression
ROWS = 64  # filtered at a time
LARGEST = 2**31 - 1  # side (section 4.9)


class PngWriter:
    """A PNG of 8 or 16 bits a channel, written from top to bottom.

    Args:
        file: where it goes.
        height, width, channels: 1 (grey), 2 (grey with alpha), 3 (RGB) or 4 channels.
        dtype: uint8 or uint16.
        icc, exif: blocks as other formats hold them.
    """

    def __init__(
        self,
        file: BinaryIO,
        height: int,
        width: int,
        channels: int,
        dtype: np.dtype,
        icc: bytes | None = None,
        exif: bytes | None = None,
    ) -> None:
        self._file = file
        self._bytes = channels * np.dtype(dtype).itemsize  # of a pixel
        self._above = np.zeros(width * self._bytes, np.uint8)
        self._deflate = zlib.compressobj(LEVEL)
        bits = 8 * np.dtype(dtype).itemsize
        header = struct.pack('>IIBBBBB', width, height, bits, COLOUR_TYPES[channels], 0, 0, 0)
        file.write(SIGNATURE + chunk(b'IHDR', header))
        if icc:
            file.write(chunk(b'iCCP', b'ICC\0\0' + zlib.compress(icc)))
        if exif:
            file.write(chunk(b'eXIf', exif.removeprefix(b'Exif\0\0')))

    def write(self, rows: np.ndarray) -> None:
        """The next rows, (any, width, channels)."""
        for first in range(0, len(rows), ROWS):
            part = rows[first : first + ROWS]
            if part.dtype == np.uint16:
                part = part.astype('>u2')
            raw = np.ascontiguousarray(part).view(np.uint8).reshape(len(part), -1)
            if data := self._deflate.compress(self._filtered(raw)):
                self._file.write(chunk(b'IDAT', data))
            self._above = raw[-1].copy()

    def close(self) -> None:
        self._file.write(chunk(b'IDAT', self._deflate.flush()) + chunk(b'IEND', b''))

    def _filtered(self, raw: np.ndarray) -> bytes:
        """Each row as differences to the left or to above (section 9), whichever are smaller."""
        filtered = np.empty((2, len(raw), 1 + raw.shape[1]), np.uint8)
        filtered[0, :, 0], filtered[1, :, 0] = 1, 2  # the filters' types: Sub, Up
        filtered[0, :, 1:] = raw
        filtered[0, :, 1 + self._bytes :] -= raw[:, : -self._bytes]
        filtered[1, :, 1:] = raw - np.vstack((self._above, raw[:-1]))
        sizes = np.abs(filtered[..., 1::7].view(np.int8).astype(np.int16)).sum(-1, dtype=np.int64)
        return filtered[sizes.argmin(0), np.arange(len(raw))].tobytes()


def chunk(name: bytes, content: bytes) -> bytes:
    """Section 5.3: length, name, content, checksum."""
    return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))
