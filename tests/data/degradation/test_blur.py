import cv2
import numpy as np
import pytest
import torch

from aesop.data.degradation.blur import blur, usm_sharpen
from aesop.data.degradation.kernels import gaussian, sinc


def rows(images):
    return [image.permute(1, 2, 0).numpy() for image in images]


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    smooth = [cv2.GaussianBlur(rng.random((61, 74, 3)), (0, 0), sigma) for sigma in (0.5, 1, 3)]
    spread = [(image - image.min()) / np.ptp(image) for image in smooth]
    return torch.from_numpy(np.stack(spread).transpose(0, 3, 1, 2)).float()


def test_each_image_gets_its_kernel(images):
    kernels = [gaussian(21, 2.5, 0.7, 0.9), sinc(21, 1.3), gaussian(21, 0.2, 0.2)]
    blurred = blur(images, torch.from_numpy(np.stack(kernels)).float())
    for out, image, kernel in zip(rows(blurred), rows(images), kernels):
        expected = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
        np.testing.assert_allclose(out, expected, atol=2e-6)


def test_an_image_smaller_than_half_the_kernel_repeats_its_edge():
    image = torch.rand(1, 3, 8, 30)
    kernel = gaussian(21, 2, 2)
    expected = cv2.filter2D(rows(image)[0], -1, kernel, borderType=cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(rows(blur(image, torch.from_numpy(kernel[None]).float()))[0], expected, atol=2e-6)


def test_sharpening_equals_opencvs_steps(images):
    for out, image in zip(rows(usm_sharpen(images)), rows(images)):
        smooth = cv2.GaussianBlur(image, (51, 51), 0)
        detail = image - smooth
        mask = cv2.GaussianBlur((np.abs(detail) * 255 > 10).astype(np.float32), (51, 51), 0)
        sharp = np.clip(image + 0.5 * detail, 0, 1)
        np.testing.assert_allclose(out, mask * sharp + (1 - mask) * image, atol=3e-6)
        assert np.abs(out - image).max() > 0.05


def test_sharpening_leaves_faint_noise_alone():
    faint = 0.5 + 0.03 * torch.rand(1, 3, 64, 64)  # less than 10 of 255
    torch.testing.assert_close(usm_sharpen(faint), faint)
