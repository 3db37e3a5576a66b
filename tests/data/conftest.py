import cv2
import numpy as np
import pytest

from aesop.images import save_image
from aesop.imresize import imresize

SIZES = [(40, 56), (48, 48), (64, 40), (52, 44), (41, 59)]  # the last is no multiple of 4


@pytest.fixture
def folders(tmp_path):
    """hr/ and lr/ of five small images, lr made from the part of hr that is a multiple of 4."""
    rng = np.random.default_rng(7)
    for number, (height, width) in enumerate(SIZES):
        hr = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), (0, 0), 0.8)
        save_image(tmp_path / f'hr/{number}.png', hr)
        save_image(tmp_path / f'lr/{number}.png', imresize(hr[: height // 4 * 4, : width // 4 * 4], 0.25))
    return tmp_path
