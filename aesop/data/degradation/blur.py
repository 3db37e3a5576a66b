"""Blurring and sharpening batches on the device."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_USM_SIZE = 51
_USM_SIGMA = 8.0  # what OpenCV takes for this size: 0.3 * ((51 - 1) / 2 - 1) + 0.8


def blur(images: Tensor, kernels: Tensor) -> Tensor:
    """Convolves each image with its own kernel; borders are padded by reflection.

    Args:
        images: (N, C, H, W).
        kernels: (N, kh, kw), odd sides, symmetric about their centre.
    """
    down, across = (side // 2 for side in kernels.shape[1:])
    # reflection needs images larger than half the kernel
    mode = 'reflect' if images.shape[-2] > down and images.shape[-1] > across else 'replicate'
    padded = F.pad(images, (across, across, down, down), mode=mode)
    if images.device.type == 'cpu':
        return _fft_blur(padded, kernels)
    # samples are the groups of one convolution, colours its batch: no copy of a kernel for each colour
    return F.conv2d(padded.transpose(0, 1), kernels[:, None], groups=len(images)).transpose(0, 1)


def _fft_blur(padded: Tensor, kernels: Tensor) -> Tensor:
    """Circular convolution by FFT, cropped to the pixels where nothing wraps around.

    On a CPU it takes a quarter of the time of a direct convolution with 21x21 kernels, whatever the kernel size.
    """
    size = [cv2.getOptimalDFTSize(side) for side in padded.shape[-2:]]
    spectrum = torch.fft.rfft2(padded, size) * torch.fft.rfft2(kernels, size)[:, None]
    (top, left), (bottom, right) = (side - 1 for side in kernels.shape[-2:]), padded.shape[-2:]
    return torch.fft.irfft2(spectrum, size)[..., top:bottom, left:right]


def usm_sharpen(images: Tensor, weight: float = 0.5, threshold: float = 10.0) -> Tensor:
    """Unsharp masking of (N, C, H, W) images in [0, 1], with Real-ESRGAN's settings: a Gaussian of 51 pixels, sigma 8.

    Adds `weight` times the difference from the blurred image, clamped to [0, 1], only where that difference exceeds
    `threshold` / 255, so that noise in flat areas is not amplified; the mask is blurred.
    """
    offset = np.arange(_USM_SIZE) - _USM_SIZE // 2
    gaussian = np.exp(-0.5 * (offset / _USM_SIGMA) ** 2)
    gaussian = torch.from_numpy(gaussian / gaussian.sum()).to(images).expand(len(images), 1, -1)

    def smooth(x: Tensor) -> Tensor:
        if x.device.type == 'cpu':  # one two-dimensional kernel
            return blur(x, gaussian * gaussian.transpose(1, 2))
        return blur(blur(x, gaussian), gaussian.transpose(1, 2))

    detail = images - smooth(images)
    mask = smooth((255 * detail.abs() > threshold).to(images))
    return torch.lerp(images, (images + weight * detail).clamp(0, 1), mask)
