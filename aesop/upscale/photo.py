"""Image files with their alpha channel, 16 bits, colour profile (ICC) and EXIF."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from aesop.errors import UserError
from aesop.evaluation.tiling import around
from aesop.upscale.png import LARGEST, PngWriter
from aesop.utils.files import atomic
from aesop.utils.images import decode_image, to_tensor, to_uint8, to_uint16
from aesop.utils.imresize import imresize

logger = logging.getLogger(__name__)

FORMATS = {'.png': 'PNG', '.jpg': 'JPEG', '.jpeg': 'JPEG', '.webp': 'WEBP'}
GREY = ('1', 'L', 'LA', 'La', 'I', 'I;16', 'I;16B')  # Pillow's modes
ORIENTATION, DETAILS = 0x0112, 0x8769  # the tag, and the sub-directory of EXIF
INTERPOLATED = 4  # rows of alpha around a band, more than bicubic interpolation needs
PIXELS = (0xA002, 0xA003)  # width and height, in the sub-directory
# TIFF tags that describe how the pixels of the file are stored.
STORAGE = (256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338, 339, 34675)


@dataclass
class Photo:
    """The content of an image file, rotated upright.

    Attributes:
        colours: (h, w, 3) RGB, uint8 or uint16.
        alpha: (h, w, 1), uint8 or uint16, or None.
        grey: the file has a single colour channel.
        icc, exif: the blocks as stored in a file; `exif` without tags of size and orientation.
    """

    path: Path
    colours: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    icc: bytes | None = None
    exif: bytes | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.colours.shape[:2]

    def image(self, rows: slice = slice(None)) -> Tensor:
        """(3, h, w) RGB in [0, 1], or some of the rows."""
        return to_tensor(self.colours[rows])


def read_photo(path: Path) -> Photo:
    """Raises UserError if the file cannot be read as an image (see `images.read_image`)."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f'{path}: it cannot be read ({error.strerror})') from error
    colours = decode_image(data, path, strict=False)
    try:
        with Image.open(BytesIO(data)) as header:
            grey, icc = header.mode in GREY, header.info.get('icc_profile')
            alpha = None
            if header.mode in ('RGBA', 'LA', 'PA', 'La', 'RGBa') or 'transparency' in header.info:
                if colours.dtype == np.uint16:
                    alpha = _alpha_16(data, header)
                else:  # OpenCV gives a TIFF's colours multiplied by alpha
                    both = np.asarray(ImageOps.exif_transpose(header).convert('RGBA'))
                    colours, alpha = both[..., :3], both[..., 3:]
            exif = _exif(header, path)
    except (Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise UserError(f'{path}: it cannot be read ({error})') from error
    if alpha is not None and alpha.shape[:2] != colours.shape[:2]:
        raise UserError(
            f'{path}: its alpha channel and its colours have different orientations; save it again, upright'
        )
    return Photo(path, colours, alpha, grey, icc, exif)


def _alpha_16(data: bytes, header: Image.Image) -> np.ndarray | None:
    """(h, w, 1), upright; None for a transparent level of grey, which OpenCV does not return."""
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.ndim == 2 or stored.shape[2] != 4:
        return None
    plane: Image.Image = Image.fromarray(np.ascontiguousarray(stored[..., 3]))
    if header.format != 'TIFF':  # OpenCV has rotated that
        plane.getexif()[ORIENTATION] = _orientation(header)
        plane = ImageOps.exif_transpose(plane)
    return np.asarray(plane)[..., None].astype(np.uint16)


def _orientation(header: Image.Image) -> int:
    return header.getexif().get(ORIENTATION, 1) if _has_exif(header) else 1


def _has_exif(header: Image.Image) -> bool:
    return header.format != 'PNG' or 'exif' in header.info  # otherwise Pillow decodes the whole PNG to look for it


def _exif(header: Image.Image, path: Path) -> bytes | None:
    """EXIF for an upright image of any size, without the thumbnail."""
    if not _has_exif(header):
        return None
    try:
        exif = header.getexif()
        for tag in (ORIENTATION, *STORAGE):
            exif.pop(tag, None)
        for tag in PIXELS:
            exif.get_ifd(DETAILS).pop(tag, None)
        return exif.tobytes() if exif or exif.get_ifd(DETAILS) else None
    except Exception as error:  # cameras write nonstandard EXIF, on which Pillow fails in many ways
        logger.warning('%s: its EXIF cannot be kept (%s)', path, error)
        return None


def levels(sr: Tensor, photo: Photo, suffix: str) -> Tensor:
    """The values to store in a file with the extension `suffix`: (..., 3, H, W) in [0, 1] -> (..., C, H, W) integers.

    Only PNG keeps 16 bits. Results of grey images are averaged to one channel, except in WebP, which has no grey.
    """
    kind = FORMATS[suffix.lower()]
    if photo.grey and kind != 'WEBP':
        sr = sr.mean(-3, keepdim=True)
    deep = photo.colours.dtype == np.uint16 and kind == 'PNG'
    return sr.clamp(0, 1).mul_(65535 if deep else 255).round_().to(torch.int32 if deep else torch.uint8)


def write_photo(path: Path, photo: Photo, pixels: np.ndarray, quality: int) -> None:
    """Writes a result with the alpha and metadata of `photo`; `path` is replaced atomically.

    Alpha is kept except in JPEG; it is enlarged by bicubic interpolation, since a network would invent texture in it.

    Args:
        path: ends in one of FORMATS.
        pixels: (H, W, C) of `levels`.
        quality: of JPEG and WebP, 1 to 100.

    Raises:
        UserError: the format does not support images of this size.
        OSError: the disk is full, there is no permission, ...
    """
    kind = FORMATS[path.suffix.lower()]
    if pixels.dtype != np.uint8:
        write_bands(path, photo, len(pixels) // photo.size[0], [pixels])
        return
    icc = _profile(photo, pixels.shape[2], path)
    if photo.alpha is not None and kind != 'JPEG':
        alpha = _alpha_rows(photo.alpha, len(pixels) // photo.size[0], 0, len(pixels), np.uint8)
        pixels = np.concatenate((pixels, alpha), axis=2)
    elif photo.alpha is not None:
        logger.warning('%s: JPEG has no alpha channel; it is dropped', path)
    data = _encoded(pixels, kind, quality, icc, photo.exif, path)
    with atomic(path, durable=False) as aside:
        aside.write_bytes(data)


def write_bands(path: Path, photo: Photo, scale: int, bands: Iterable[np.ndarray]) -> None:
    """`write_photo` for a PNG whose pixels come in bands from top to bottom; only one band is held in memory."""
    height, width = (scale * side for side in photo.size)
    if max(height, width) > LARGEST:
        raise UserError(f'{path}: PNG does not support images of {width}x{height} pixels; upscale it in parts')
    writer, done = None, 0
    with atomic(path, durable=False) as aside, open(aside, 'wb') as file:
        for pixels in bands:
            pixels = pixels if pixels.dtype == np.uint8 else pixels.astype(np.uint16)
            icc = _profile(photo, pixels.shape[2], path) if writer is None else None
            if photo.alpha is not None:
                alpha = _alpha_rows(photo.alpha, scale, done, done + len(pixels), pixels.dtype)
                pixels = np.concatenate((pixels, alpha), axis=2)
            if writer is None:
                writer = PngWriter(file, height, width, pixels.shape[2], pixels.dtype, icc, photo.exif)
            writer.write(pixels)
            done += len(pixels)
        if writer is not None:
            writer.close()


def _alpha_rows(alpha: np.ndarray, scale: int, top: int, bottom: int, dtype: Any) -> np.ndarray:
    """Rows `top` to `bottom` of the enlarged alpha, (rows, W, 1); interpolation reads a few more rows of the photo."""
    seen = around(top // scale, -(-bottom // scale) - top // scale, INTERPOLATED, len(alpha))
    rows = imresize(to_tensor(alpha[seen.start : seen.stop]), scale)
    rows = rows[:, top - scale * seen.start : bottom - scale * seen.start]
    return (to_uint8 if dtype == np.uint8 else to_uint16)(rows)


def _profile(photo: Photo, channels: int, path: Path) -> bytes | None:
    """The ICC profile, if it is for images with this many colour channels."""
    if photo.icc and not _fits(photo.icc, channels):
        logger.warning('%s: its ICC profile does not fit the colours of %s and is left out', photo.path, path.name)
        return None
    return photo.icc


def _fits(icc: bytes | None, channels: int) -> bool:
    """Whether a profile is for images with this many channels: its header names the colour space."""
    return bool(icc) and icc[16:20] == (b'GRAY' if channels == 1 else b'RGB ')


def _encoded(
    array: np.ndarray, kind: str, quality: int, icc: bytes | None, exif: bytes | None, path: Path
) -> memoryview:
    """HWC uint8 of 1 (grey), 2 (and alpha), 3 or 4 channels encoded as a file."""
    options = {'icc_profile': icc, 'exif': exif or b''}
    options |= {'compress_level': 3} if kind == 'PNG' else {'quality': quality}
    options |= {'subsampling': 0} if kind == 'JPEG' else {}
    file = BytesIO()
    try:
        Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(file, kind, **options)
    except (OSError, ValueError) as error:  # a side that the format does not support
        raise UserError(f'{path}: {kind} does not support this image ({error}); try --format png') from error
    return file.getbuffer()
