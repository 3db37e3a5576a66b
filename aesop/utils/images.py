"""Images on disk and in memory: the only place that converts value ranges, data types and channel orders.

An array is HWC RGB, uint8 or uint16. A tensor is (..., 3, H, W) RGB in [0, 1]; functions on tensors keep its dtype.
"""

import os
import stat
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aesop.errors import UserError
from aesop.utils.decoder import decoder_warnings

EXTENSIONS = frozenset({'.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm'})
_LARGEST = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
_MAX_PIXELS = 10**8  # per image, unless the environment variable AESOP_MAX_PIXELS is set
_EXIF_ORIENTATION = 0x0112
_REPLACE = 'replace the file or remove it from the data set'


def list_images(folder: str | Path) -> list[Path]:
    """All image files under `folder` and its subfolders, sorted by path; hidden files and folders are skipped.

    Raises:
        UserError: the folder is missing or contains no images.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f'{folder}: folder not found; correct the path or put the images there')
    found = []
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith('.')]
        found += [Path(root, name) for name in files if not name.startswith('.')]
    found = sorted(path for path in found if path.suffix.lower() in EXTENSIONS)
    if not found:
        kinds = ' '.join(sorted(EXTENSIONS))
        raise UserError(f'{folder}: this folder contains no images; put images there ({kinds}) or correct the path')
    return found


def image_size(path: str | Path, data: bytes | None = None) -> tuple[int, int]:
    """(height, width) in pixels as `read_image` would return them, read from the file's header only.

    Args:
        data: the content, if the image is not a file of its own.

    Raises:
        UserError: the file is missing, is not an image, or exceeds `max_pixels`.
    """
    _refuse_special(path, data)
    try:
        with Image.open(path if data is None else BytesIO(data)) as image:
            width, height = image.size
            if image.format == 'TIFF':  # recent versions of Pillow apply the rotation to a TIFF's size already
                width, height = image.tag_v2[256], image.tag_v2[257]
            # PNG's getexif() decodes the whole image if there is no EXIF block
            has_exif = image.format != 'PNG' or 'exif' in image.info
            turned = has_exif and image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    except Image.DecompressionBombError:  # Pillow rejects headers that declare more than 179 megapixels
        if max_pixels() <= 2 * (Image.MAX_IMAGE_PIXELS or 0):
            raise _too_large(path) from None
        height, width = (read_image(path) if data is None else decode_image(data, path)).shape[:2]
        return height, width
    except (OSError, ValueError, SyntaxError) as error:
        raise _unreadable(path, error) from None
    if width * height > max_pixels():
        raise _too_large(path)
    return (width, height) if turned else (height, width)


def max_pixels() -> int:
    """The largest number of pixels that is read: a small file can declare more than fits into memory.

    100 million, or the environment variable AESOP_MAX_PIXELS.
    """
    return int(float(os.environ.get('AESOP_MAX_PIXELS', _MAX_PIXELS)))


def image_kind(path: str | Path, data: bytes | None = None) -> str:
    """Format and mode from the header, e.g. `PNG RGB`, `PNG RGB 16 bits`, `JPEG L`. Arguments as in `image_size`."""
    _refuse_special(path, data)
    try:
        with Image.open(path if data is None else BytesIO(data)) as image:
            image.fp.seek(0)
            start = image.fp.read(25)
            return f'{image.format} {image.mode}{" 16 bits" if image.format == "PNG" and start[24] == 16 else ""}'
    except Image.DecompressionBombError:
        return 'very large'
    except (OSError, ValueError, SyntaxError) as error:
        raise _unreadable(path, error) from None


def has_end(path: str | Path, data: bytes | None = None) -> bool:
    """Whether a PNG or JPEG ends with its end marker, judging by its last bytes; True for other formats.

    A file that does not is usually truncated, but may also be complete with trailing data.

    Args:
        data: as in `image_size`.
    """
    _refuse_special(path, data)
    with open(path, 'rb') if data is None else BytesIO(data) as file:
        start = file.read(4)
        file.seek(max(0, file.seek(0, os.SEEK_END) - 16))
        end = file.read()
    return b'IEND' in end if start == b'\x89PNG' else not start.startswith(b'\xff\xd8') or end.endswith(b'\xff\xd9')


def read_image(path: str | Path) -> np.ndarray:
    """The image as (H, W, 3) RGB: uint16 if the file has 16 bits per channel, uint8 otherwise.

    Grey becomes three equal channels, palettes and CMYK become RGB, the EXIF rotation is applied. Alpha is dropped:
    the colours are taken as stored, without compositing onto a background.

    Raises:
        UserError: the file is missing, empty, damaged, not an image, too large, or has floating-point pixels.
    """
    _refuse_special(path)
    try:
        data = Path(path).read_bytes()  # cv2.imread fails on non-ASCII paths on some systems
    except OSError as error:
        raise _unreadable(path, error) from None
    return decode_image(data, path)


def decode_image(data: bytes, name: str | Path, strict: bool = True) -> np.ndarray:
    """Like `read_image`, for the content of a file.

    Args:
        name: the name used in error messages.
        strict: reject a JPEG that is partly corrupt, where the decoder makes pixels up.
    """
    if _pixels(data) > max_pixels():
        raise _too_large(name)
    with decoder_warnings(data) as warnings:
        try:
            flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
        except cv2.error:
            image = None
    if image is None or _truncated(data):
        what = 'is empty' if not data else 'is not an 8- or 16-bit image, or is damaged or truncated'
        raise UserError(f'{name}: the file {what}; {_REPLACE}')
    if warnings and strict:
        raise UserError(f'{name}: the file is damaged ({warnings[0]}); {_REPLACE}')
    if image.dtype not in _LARGEST:
        raise UserError(f'{name}: pixels of type {image.dtype} are not supported; convert it to an 8- or 16-bit PNG')
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def save_image(path: str | Path, image: Tensor | np.ndarray) -> None:
    """Writes a (3, H, W) tensor in [0, 1] (as 8 bits) or an HWC RGB uint8 or uint16 array; the suffix sets the format.

    Raises:
        UserError: the suffix is not a format that can be written.
    """
    path = Path(path)
    array = to_uint8(image) if isinstance(image, Tensor) else image
    try:
        done, data = cv2.imencode(path.suffix or '.', cv2.cvtColor(array, cv2.COLOR_RGB2BGR))
    except cv2.error:
        done, data = False, np.empty(0)
    if not done:
        raise UserError(f'{path}: images cannot be written as "{path.suffix}"; use .png')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())


def to_tensor(array: np.ndarray | Tensor) -> Tensor:
    """HWC uint8 or uint16, or a (..., H, W, C) uint8 tensor on any device -> (..., C, H, W) float32 in [0, 1]."""
    if isinstance(array, Tensor):
        planes = array.movedim(-1, -3).contiguous().float()
        return planes / torch.full(
            (), 255.0, device=array.device
        )  # dividing by a number, a GPU multiplies by its inverse
    scaled = array.astype(np.float32) / np.float32(_LARGEST[array.dtype])
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1)))


def to_uint8(tensor: Tensor) -> np.ndarray:
    """(C, H, W) -> HWC uint8: clamped to [0, 1], times 255, rounded half to even."""
    return (tensor.detach().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()


def to_uint16(tensor: Tensor) -> np.ndarray:
    """(C, H, W) -> HWC uint16: clamped to [0, 1], times 65535, rounded half to even."""
    levels = (tensor.detach().clamp(0, 1) * 65535).round().int()
    return levels.permute(1, 2, 0).cpu().numpy().astype(np.uint16, order='C')


def quantise(tensor: Tensor) -> Tensor:
    """Rounds to what an 8-bit file can store: clamped to [0, 1], in steps of 1/255. Any shape."""
    return (tensor.clamp(0, 1) * 255).round() / 255


def to_y(tensor: Tensor) -> Tensor:
    """BT.601 studio-swing luma: (..., 3, H, W) RGB in [0, 1] -> (..., 1, H, W) in [16, 235] / 255."""
    red, green, blue = tensor.split(1, dim=-3)
    return (16 + 65.481 * red + 128.553 * green + 24.966 * blue) / 255


def _unreadable(path: str | Path, error: Exception) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(f'{path}: file not found; restore it, or correct the path or the list that names it')
    return UserError(f'{path}: this cannot be read as an image ({error}); {_REPLACE}')


def _too_large(path: str | Path) -> UserError:
    return UserError(
        f'{path}: the image has more than {max_pixels():,} pixels; remove it, split it, or raise the limit '
        'with the environment variable AESOP_MAX_PIXELS'
    )


def _refuse_special(path: str | Path, data: bytes | None = None) -> None:
    """Raises UserError for anything but a regular file: opening a FIFO would block until something writes to it."""
    if data is not None:
        return
    try:
        is_regular = stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if not is_regular:
        raise UserError(f'{path}: this is not a regular file; {_REPLACE}')


def _pixels(data: bytes) -> int:
    """The number of pixels in the header; 0 if Pillow does not know the format."""
    try:
        with Image.open(BytesIO(data)) as image:
            return image.width * image.height
    except Image.DecompressionBombError:
        return 2 * (Image.MAX_IMAGE_PIXELS or 0) + 1
    except (OSError, ValueError, SyntaxError):
        return 0


def _truncated(data: bytes) -> bool:
    """Whether a PNG or JPEG is truncated. OpenCV decodes such a file and fills the rest with grey or black."""
    if data.startswith(b'\x89PNG'):
        return b'IEND' not in data
    if not data.startswith(b'\xff\xd8'):
        return False
    at = 2  # skip the segments before the image data: one may hold a thumbnail with its own end marker
    while data[at : at + 2] not in (b'\xff\xda', b''):
        at += 2 + int.from_bytes(data[at + 2 : at + 4], 'big')
    return data.find(b'\xff\xd9', at) < 0
