import cv2
import numpy as np
import pytest
import torch
from skimage import data

from aesop.data.degradation.jpeg import jpeg

MEAN, LARGEST = 0.2, 30  # of 255: how far a photograph may be from a real encoder's


def compressed(images, qualities):
    """uint8 HWC images, one size -> the same after `jpeg`."""
    batch = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2)).float() / 255
    out = jpeg(batch, torch.tensor([float(quality) for quality in qualities]))
    return list((out * 255).permute(0, 2, 3, 1).numpy())


def really_compressed(image, quality):
    _, data = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32)


@pytest.mark.parametrize('photograph', [data.astronaut()[:256, 100:400], data.chelsea()[:, :448]], ids=['man', 'cat'])
@pytest.mark.parametrize('cut', [0, 1, 9], ids=['whole-blocks', 'odd', 'odder'])
def test_photographs_come_out_as_from_a_real_encoder(photograph, cut):
    photograph = photograph[cut:, cut:]
    qualities = (30, 31, 40, 50, 60, 75, 90, 95)
    for quality, made in zip(qualities, compressed([photograph] * len(qualities), qualities)):
        real = really_compressed(photograph, quality)
        error = np.abs(made - real)
        assert error.mean() < MEAN and error.max() <= LARGEST, (quality, error.mean(), error.max())
        # and loses as much as the encoder does
        lost = np.abs(real - photograph).mean()
        assert np.abs(made - photograph).mean() == pytest.approx(lost, rel=0.01)


@pytest.mark.parametrize('quality', [30, 62.5, 95])
def test_a_block_by_the_definition(quality):
    """Luma block by block, through OpenCV's DCT."""
    rng = np.random.default_rng(0)
    y = cv2.GaussianBlur(rng.integers(60, 190, (16, 16), dtype=np.uint8), (0, 0), 1).astype(np.float64)
    image = np.dstack([y, y, y]).round().astype(np.uint8)
    luma = [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
    percent = np.floor(5000 / quality if quality < 50 else 200 - 2 * quality)
    step = np.clip(np.floor((np.array(luma) * percent + 50) / 100), 1, 255)
    expected = np.zeros((16, 16))
    for top in (0, 8):
        for left in (0, 8):
            block = image[top : top + 8, left : left + 8, 0] - 128.0
            kept = np.round(cv2.dct(block) / step) * step
            expected[top : top + 8, left : left + 8] = np.clip(np.round(cv2.idct(kept) + 128), 0, 255)
    (made,) = compressed([image], [quality])
    assert np.abs(made - expected[..., None]).max() <= 1
    assert np.abs(made - expected[..., None]).mean() < MEAN


def test_each_image_has_its_quality():
    image = data.chelsea()[100:164, 100:164]
    both = compressed([image, image], [30, 90])
    assert np.array_equal(both[0], compressed([image], [30])[0])
    assert np.array_equal(both[1], compressed([image], [90])[0])
    assert np.abs(both[0] - image).mean() > 1.5 * np.abs(both[1] - image).mean()


def test_values_outside_the_range_are_clamped_first():
    images = torch.rand(1, 3, 24, 24) * 1.4 - 0.2
    assert torch.equal(jpeg(images, torch.tensor([80.0])), jpeg(images.clamp(0, 1), torch.tensor([80.0])))
