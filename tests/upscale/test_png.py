import io

import cv2
import numpy as np
import pytest
from PIL import Image

from aesop.upscale.png import PngWriter

SMOOTH = np.add.outer(np.arange(150), np.arange(90))[..., None] + np.arange(4)


def written(array, parts, **more):
    file = io.BytesIO()
    writer = PngWriter(file, *array.shape, array.dtype, **more)
    for part in np.split(array, parts):
        writer.write(part)
    writer.close()
    return file.getvalue()


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_pixels_come_back_whatever_the_parts(channels, dtype):
    noise = np.random.default_rng(0).integers(0, 2 ** (8 * np.dtype(dtype).itemsize), SMOOTH.shape, dtype=dtype)
    for array in (SMOOTH.astype(dtype), noise):
        array = array[..., :channels]
        data = written(array, [1, 70, 71])
        if dtype == np.uint8:
            found = np.asarray(Image.open(io.BytesIO(data))).reshape(array.shape)
        else:  # OpenCV reads BGR, and makes grey with alpha BGRA
            found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).reshape(*array.shape[:2], -1)
            found = found[..., {1: [0], 2: [0, 3], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]]
        assert np.array_equal(found, array)


def test_smooth_images_become_small():
    assert len(written(SMOOTH[..., :3].astype(np.uint8), [50])) < 0.1 * SMOOTH[..., :3].size


def test_blocks_are_kept():
    exif = Image.Exif()
    exif[0x010F] = 'a camera'
    image = Image.open(io.BytesIO(written(SMOOTH[..., :1].astype(np.uint8), [], icc=b'profile', exif=exif.tobytes())))
    assert image.info['icc_profile'] == b'profile'
    assert image.getexif()[0x010F] == 'a camera'
