"""Images with all that belongs to them: alpha, 16 bits, colour profile (ICC), EXIF."""

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
ORIENTATION, DETAILS = 0x0112, 0x8769  # the tag, and the second part of EXIF
INTERPOLATED = 4  # rows of alpha on each side of a band, more than bicubic interpolation looks at
PIXELS = (0xA002, 0xA003)  # width and height, in the second part
# Tags by which a TIFF file says how its own pixels are stored.
STORAGE = (256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338, 339, 34675)


@dataclass
class Photo:
    """An image file's content, turned upright.

    Attributes:
        colours: (h, w, 3) RGB, uint8 or uint16.
        alpha: (h, w, 1), uint8 or uint16, where there is one.
        grey: the file holds one channel of colour.
        icc, exif: the blocks as a file holds them; in `exif` what the size or the orientation says is left out.
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
    """Raises: UserError: it cannot be read as an image (see `images.read_image`)."""
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
        raise UserError(f'{path}: its alpha is turned in another way than its colours; save it anew, upright')
    return Photo(path, colours, alpha, grey, icc, exif)


def _alpha_16(data: bytes, header: Image.Image) -> np.ndarray | None:
    """(h, w, 1), upright; None for one transparent level of grey, which OpenCV does not tell."""
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.ndim == 2 or stored.shape[2] != 4:
        return None
    plane: Image.Image = Image.fromarray(np.ascontiguousarray(stored[..., 3]))
    if header.format != 'TIFF':  # OpenCV has turned that
        plane.getexif()[ORIENTATION] = _orientation(header)
        plane = ImageOps.exif_transpose(plane)
    return np.asarray(plane)[..., None].astype(np.uint16)


def _orientation(header: Image.Image) -> int:
    return header.getexif().get(ORIENTATION, 1) if _has_exif(header) else 1


def _has_exif(header: Image.Image) -> bool:
    return header.format != 'PNG' or 'exif' in header.info  # else Pillow decodes the whole PNG to find none


def _exif(header: Image.Image, path: Path) -> bytes | None:
    """EXIF for an upright image of any size; the thumbnail is left out."""
    if not _has_exif(header):
        return None
    try:
        exif = header.getexif()
        for tag in (ORIENTATION, *STORAGE):
            exif.pop(tag, None)
        for tag in PIXELS:
            exif.get_ifd(DETAILS).pop(tag, None)
        return exif.tobytes() if exif or exif.get_ifd(DETAILS) else None
    except Exception as error:  # cameras write what no standard knows, and Pillow fails on it in many ways
        logger.warning('%s: its EXIF cannot be kept (%s)', path, error)
        return None


def levels(sr: Tensor, photo: Photo, suffix: str) -> Tensor:
    """What a file that ends in `suffix` holds of a result: (..., 3, H, W) in [0, 1] -> (..., C, H, W) integers.

    16 bits are kept in PNG alone. Of a grey image's three channels the mean is kept, but in WebP, which has no grey.
    """
    kind = FORMATS[suffix.lower()]
    if photo.grey and kind != 'WEBP':
        sr = sr.mean(-3, keepdim=True)
    deep = photo.colours.dtype == np.uint16 and kind == 'PNG'
    return sr.clamp(0, 1).mul_(65535 if deep else 255).round_().to(torch.int32 if deep else torch.uint8)


def write_photo(path: Path, photo: Photo, pixels: np.ndarray, quality: int) -> None:
    """Writes a result with what belongs to `photo`; at any instant `path` is the whole file or not there.

    Alpha is kept in all but JPEG, enlarged by bicubic interpolation: a network would invent texture in it.

    Args:
        path: ends in one of FORMATS.
        pixels: (H, W, C) of `levels`.
        quality: of JPEG and WebP, 1 to 100.

    Raises:
        UserError: the format does not take an image of this size.
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
        logger.warning('%s: JPEG holds no alpha', path)
    data = _encoded(pixels, kind, quality, icc, photo.exif, path)
    with atomic(path, durable=False) as aside:
        aside.write_bytes(data)


def write_bands(path: Path, photo: Photo, scale: int, bands: Iterable[np.ndarray]) -> None:
    """`write_photo` of a PNG whose pixels come from top to bottom, some rows at a time: memory is that of a band."""
    height, width = (scale * side for side in photo.size)
    if max(height, width) > LARGEST:
        raise UserError(f'{path}: PNG does not take an image of {width}x{height} pixels; upscale parts of it')
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
    """Rows `top` to `bottom` of the enlarged alpha, (rows, W, 1); interpolation sees a few more of the photo's."""
    seen = around(top // scale, -(-bottom // scale) - top // scale, INTERPOLATED, len(alpha))
    rows = imresize(to_tensor(alpha[seen.start : seen.stop]), scale)
    rows = rows[:, top - scale * seen.start : bottom - scale * seen.start]
    return (to_uint8 if dtype == np.uint8 else to_uint16)(rows)


def _profile(photo: Photo, channels: int, path: Path) -> bytes | None:
    """The ICC profile, where it is for images with this many colour channels."""
    if photo.icc and not _fits(photo.icc, channels):
        logger.warning('%s: its ICC profile is for other colours than %s, and is left out', photo.path, path.name)
        return None
    return photo.icc


def _fits(icc: bytes | None, channels: int) -> bool:
    """Whether a profile is for images with this many channels: its header names the colour space."""
    return bool(icc) and icc[16:20] == (b'GRAY' if channels == 1 else b'RGB ')


def _encoded(
    array: np.ndarray, kind: str, quality: int, icc: bytes | None, exif: bytes | None, path: Path
) -> memoryview:
    """HWC uint8 of 1 (grey), 2 (and alpha), 3 or 4 channels as a file's content."""
    options = {'icc_profile': icc, 'exif': exif or b''}
    options |= {'compress_level': 3} if kind == 'PNG' else {'quality': quality}
    options |= {'subsampling': 0} if kind == 'JPEG' else {}
    file = BytesIO()
    try:
        Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(file, kind, **options)
    except (OSError, ValueError) as error:  # a side that the format does not know
        raise UserError(f'{path}: {kind} does not take this image ({error}); try --format png') from error
    return file.getbuffer()
