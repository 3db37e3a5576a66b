"""Noise of Real-ESRGAN's degradation (Sec. 3.2), with a separate strength for each image of a batch.

Images and results are (N, 3, H, W) RGB in [0, 1]. `gray` (N,) bool: the noise is the same in all three channels.
"""

import torch
from torch import Tensor

from aesop.utils.images import quantise


def gaussian_noise(images: Tensor, sigma: Tensor, gray: Tensor, generator: torch.Generator) -> Tensor:
    """Adds normal noise of standard deviation `sigma` (N,), of 255."""
    noise = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
    noise = torch.where(_each(gray), noise[:, :1], noise)
    return (images + noise * _each(sigma) / 255).clamp(0, 1)


def poisson_noise(images: Tensor, scale: Tensor, gray: Tensor, generator: torch.Generator) -> Tensor:
    """Adds `scale` (N,) times shot noise, as if an image had as many photons at white as it has distinct 8-bit values,
    rounded up to a power of two. Gray noise is that of the luma."""
    luma = (images * images.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    if images.device.type == 'cpu':  # avoids unneeded draws; on a GPU, indexing would synchronise
        noise = torch.empty_like(images)
        noise[gray] = _shot_noise(luma[gray], generator)
        noise[~gray] = _shot_noise(images[~gray], generator)
    else:
        noise = torch.where(_each(gray), _shot_noise(luma, generator), _shot_noise(images, generator))
    return (images + noise * _each(scale)).clamp(0, 1)


def _shot_noise(images: Tensor, generator: torch.Generator) -> Tensor:
    images = quantise(images)
    values = (images * 255).round().long().flatten(1)
    distinct = torch.zeros(len(images), 256, device=images.device).scatter_(1, values, 1.0).sum(1)
    photons = _each(2 ** distinct.log2().ceil())
    return torch.poisson(images * photons, generator) / photons - images


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
