"""Images with all that belongs to them: alpha, 16 bits, colour profile (ICC), EXIF."""

import logging
import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from aesop.errors import UserError
from aesop.utils.files import atomic
from aesop.utils.images import decode_image, to_tensor, to_uint8, to_uint16
from aesop.utils.imresize import imresize

logger = logging.getLogger(__name__)

FORMATS = {'.png': 'PNG', '.jpg': 'JPEG', '.jpeg': 'JPEG', '.webp': 'WEBP'}
GREY = ('1', 'L', 'LA', 'La', 'I', 'I;16', 'I;16B')  # Pillow's modes
ORIENTATION, DETAILS = 0x0112, 0x8769  # the tag, and the second part of EXIF
PIXELS = (0xA002, 0xA003)  # width and height, in the second part
# Tags by which a TIFF file says how its own pixels are stored.
STORAGE = (256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338, 339, 34675)


@dataclass
class Photo:
    """An image file's content, turned upright.

    Attributes:
        image: (3, h, w) RGB in [0, 1].
        alpha: (1, h, w) in [0, 1], where there is one.
        deep: 16 bits a channel.
        grey: the file holds one channel of colour.
        icc, exif: the blocks as a file holds them; in `exif` what the size or the orientation says is left out.
    """

    path: Path
    image: Tensor
    alpha: Tensor | None
    deep: bool
    grey: bool
    icc: bytes | None
    exif: bytes | None


def read_photo(path: Path) -> Photo:
    """Raises: UserError: it cannot be read as an image (see `images.read_image`)."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f'{path}: it cannot be read ({error.strerror})') from error
    colours = decode_image(data, path)
    deep = colours.dtype == np.uint16
    try:
        with Image.open(BytesIO(data)) as header:
            grey, icc = header.mode in GREY, header.info.get('icc_profile')
            alpha = None
            if header.mode in ('RGBA', 'LA', 'PA', 'La', 'RGBa') or 'transparency' in header.info:
                if deep:
                    alpha = _alpha_16(data, header)
                else:  # OpenCV gives a TIFF's colours multiplied by alpha
                    both = np.asarray(ImageOps.exif_transpose(header).convert('RGBA'))
                    colours, alpha = both[..., :3], both[..., 3:]
            exif = _exif(header, path)
    except (Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise UserError(f'{path}: it cannot be read ({error})') from error
    if alpha is not None and alpha.shape[:2] != colours.shape[:2]:
        raise UserError(f'{path}: its alpha is turned in another way than its colours; save it anew, upright')
    transparency = None if alpha is None else to_tensor(alpha)
    return Photo(path, to_tensor(colours), transparency, deep, grey, icc, exif)


def _alpha_16(data: bytes, header: Image.Image) -> np.ndarray | None:
    """(h, w, 1), upright; None for one transparent level of grey, which OpenCV does not tell."""
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if stored.ndim == 2 or stored.shape[2] != 4:
        return None
    plane = Image.fromarray(np.ascontiguousarray(stored[..., 3]))
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


def write_photo(path: Path, photo: Photo, sr: Tensor, quality: int) -> None:
    """Writes `sr` with what belongs to `photo`; at any instant `path` is the whole file or not there.

    16 bits are kept in PNG alone, alpha in all but JPEG. Alpha is enlarged by bicubic interpolation: a network would
    invent texture in it. Of a grey image's three channels the mean is kept.

    Args:
        path: ends in one of FORMATS.
        sr: (3, H, W).
        quality: of JPEG and WebP, 1 to 100.

    Raises:
        UserError: the format does not take an image of this size.
        OSError: the disk is full, there is no permission, ...
    """
    kind = FORMATS[path.suffix.lower()]
    image = sr.mean(0, keepdim=True) if photo.grey and kind != 'WEBP' else sr
    planes = [image]
    if photo.alpha is not None and kind != 'JPEG':
        planes.append(imresize(photo.alpha, sr.shape[-1] // photo.alpha.shape[-1]))
    elif photo.alpha is not None:
        logger.warning('%s: JPEG holds no alpha', path)
    icc = photo.icc if _fits(photo.icc, len(image)) else None
    if photo.icc and not icc:
        logger.warning('%s: its ICC profile is for other colours than %s, and is left out', photo.path, path.name)
    if photo.deep and kind == 'PNG':
        data = _png_16(to_uint16(torch.cat(planes)), icc, photo.exif)
    else:
        data = _encoded(to_uint8(torch.cat(planes)), kind, quality, icc, photo.exif, path)
    with atomic(path, durable=False) as aside:
        aside.write_bytes(data)


def _fits(icc: bytes | None, channels: int) -> bool:
    """Whether a profile is for images of so many channels: its header names the colour space."""
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


def _png_16(array: np.ndarray, icc: bytes | None, exif: bytes | None) -> bytes:
    """HWC uint16 as a PNG file's content. Pillow writes no such colours, and OpenCV neither profile nor EXIF."""
    if array.shape[2] == 2:  # grey with alpha
        array = array[..., [0, 0, 0, 1]]
        icc = None
    if array.shape[2] >= 3:
        array = array[..., [2, 1, 0, 3][: array.shape[2]]]
    data = cv2.imencode('.png', np.ascontiguousarray(array))[1].tobytes()
    chunks = b''
    if icc:
        chunks += _chunk(b'iCCP', b'ICC\0\0' + zlib.compress(icc))
    if exif:
        chunks += _chunk(b'eXIf', exif.removeprefix(b'Exif\0\0'))
    header = 8 + 25  # the signature and the first chunk, IHDR
    return data[:header] + chunks + data[header:]


def _chunk(name: bytes, content: bytes) -> bytes:
    """PNG specification, section 5.3: length, name, content, checksum."""
    return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))
