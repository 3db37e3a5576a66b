"""Bicubic resizing as MATLAB's `imresize` does it: the degradation that defines the classical SR benchmarks."""

import math
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Image = TypeVar('Image', np.ndarray, Tensor)
# Output pixels per matrix product: small blocks multiply few zeros on a CPU, few products are faster on a GPU.
_BLOCK = {'cpu': 12, 'cuda': 256}
_HALF = 0.5 + 2.0**-30  # a sum that should be exactly a half may come out slightly below it, e.g. at scale 1/6


def imresize(image: Image, scale: float, antialiasing: bool = True) -> Image:
    """Resizes both sides of `image` by `scale`, to ceil(side * scale), with Keys' cubic kernel (a = -0.5).

    When downscaling with `antialiasing`, the kernel is widened by 1 / scale. Borders are padded symmetrically. All sums
    are in float64, unaffected by TF32 and autocast.

    Args:
        image: a (..., C, H, W) tensor (differentiable, on any device) or an HWC or HW array. Floating point keeps its
            range, unclipped. Integers keep their type, rounded half up and clamped after each of the two passes
            (heights first), as MATLAB does and as the benchmark files were made.
        scale: positive; 1/4 makes the x4 low-resolution image.
    """
    if isinstance(image, Tensor):
        limits = None if image.is_floating_point() else torch.iinfo(image.dtype)
        rows = _resize_rows(image, scale, antialiasing, limits)
        return _resize_rows(rows.mT, scale, antialiasing, limits).mT.to(image.dtype).contiguous()
    height, width, *channels = image.shape
    limits = np.iinfo(image.dtype) if image.dtype.kind in 'iu' else None
    dtype = np.uint8 if image.dtype == np.uint8 else np.float64  # those that PyTorch supports
    known = np.require(image, dtype, ['C', 'W'])
    flat = torch.from_numpy(known).view(height, -1)
    rows = _resize_rows(flat, scale, antialiasing, limits).view(-1, width, *channels)
    flat = rows.transpose(0, 1).reshape(width, -1)  # width first: one product resizes the axis
    out = _resize_rows(flat, scale, antialiasing, limits).view(-1, len(rows), *channels)
    return np.ascontiguousarray(out.transpose(0, 1).numpy(), dtype=image.dtype)


def _resize_rows(image: Tensor, scale: float, antialiasing: bool, limits: torch.iinfo | np.iinfo | None) -> Tensor:
    """(..., H, W) -> (..., ceil(H * scale), W): float64, or, with `limits`, rounded and clamped in the input's type."""
    blocks = []
    for first, weights in _weights(image.shape[-2], scale, antialiasing, image.device):
        window = image[..., first : first + weights.shape[1], :]
        block = weights @ window.double()
        if limits is not None:
            block = block.add_(_HALF).floor_().clamp_(limits.min, limits.max).to(image.dtype)
        blocks.append(block)
    return torch.cat(blocks, dim=-2)


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # cached tensors may be needed for a gradient later
def _weights(size: int, scale: float, antialiasing: bool, device: torch.device) -> list[tuple[int, Tensor]]:
    """Resizing an axis of `size` as a banded matrix: pairs of (first input pixel, (outputs, inputs) block)."""
    stretch = min(scale, 1.0) if antialiasing else 1.0
    out = math.ceil(size * scale)
    centre = (np.arange(out) + 0.5) / scale - 0.5  # of each output pixel, in input pixels
    reach = 2 / stretch
    taps = np.floor(centre - reach).astype(int)[:, None] + np.arange(math.ceil(2 * reach) + 2)
    weight = _cubic((centre[:, None] - taps) * stretch)
    weight /= weight.sum(axis=1, keepdims=True)
    taps = taps % (2 * size)
    taps = np.minimum(taps, 2 * size - 1 - taps)  # symmetric: the edge pixel repeats, c b a | a b c
    blocks, length = [], _BLOCK.get(device.type, 64)
    for start in range(0, out, length):
        tap, part = taps[start : start + length], weight[start : start + length]
        block = np.zeros((len(tap), tap.max() - tap.min() + 1))
        np.add.at(block, (np.arange(len(tap))[:, None], tap - tap.min()), part)
        blocks.append((int(tap.min()), torch.from_numpy(block).to(device)))
    return blocks


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys (1981), Cubic convolution interpolation, eq. 15."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
