"""Bicubic resizing as MATLAB's `imresize` does it: the degradation that defines the classical SR benchmarks."""

import math
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Image = TypeVar('Image', np.ndarray, Tensor)
_BLOCK = 64  # output pixels a matrix product: its input window is short, so the product wastes few zeros


def imresize(image: Image, scale: float, antialiasing: bool = True) -> Image:
    """Resizes both sides of `image` by `scale`, to ceil(side * scale), with Keys' cubic kernel (a = -0.5).

    Going down with `antialiasing`, the kernel is widened by 1 / scale. Borders are padded symmetrically. All sums are
    in float64, so neither TF32 nor autocast touches the result.

    Args:
        image: a (..., C, H, W) tensor (differentiable, on any device) or an HWC or HW array. Floating point keeps its
            range, unclipped. Integers give the same type, rounded half up and clamped after each of the two passes
            (heights first), as MATLAB does: so were the files of the benchmark sets made.
        scale: above 0; 1/4 makes the x4 low-resolution image.
    """
    if isinstance(image, Tensor):
        axes, tensor = (-2, -1), image
    else:
        axes, tensor = (0, 1), torch.from_numpy(np.ascontiguousarray(image))
    out = tensor.double()
    for axis in axes:
        out = _resize_axis(out, axis, scale, antialiasing)
        if not tensor.is_floating_point():
            limits = torch.iinfo(tensor.dtype)
            out = (out + 0.5).floor().clamp(limits.min, limits.max)
    out = out.to(tensor.dtype)
    return out if isinstance(image, Tensor) else out.numpy()


def _resize_axis(image: Tensor, axis: int, scale: float, antialiasing: bool) -> Tensor:
    image = image.movedim(axis, -1)
    blocks = _weights(image.shape[-1], scale, antialiasing)
    parts = [image[..., first : first + len(block)] @ block.to(image.device) for first, block in blocks]
    return torch.cat(parts, dim=-1).movedim(-1, axis)


@lru_cache(maxsize=32)
def _weights(size: int, scale: float, antialiasing: bool) -> list[tuple[int, Tensor]]:
    """The resizing of an axis of `size` as a banded matrix: (first input pixel, (inputs, outputs) block) pairs."""
    stretch = min(scale, 1.0) if antialiasing else 1.0
    out = math.ceil(size * scale)
    centre = (np.arange(out) + 0.5) / scale - 0.5  # of each output pixel, in input pixels
    reach = 2 / stretch
    taps = np.floor(centre - reach).astype(int)[:, None] + np.arange(math.ceil(2 * reach) + 2)
    weight = _cubic((centre[:, None] - taps) * stretch)
    weight /= weight.sum(axis=1, keepdims=True)
    taps = taps % (2 * size)
    taps = np.minimum(taps, 2 * size - 1 - taps)  # symmetric: the edge pixel repeats, c b a | a b c
    blocks = []
    for start in range(0, out, _BLOCK):
        tap, part = taps[start : start + _BLOCK], weight[start : start + _BLOCK]
        block = np.zeros((tap.max() - tap.min() + 1, len(tap)))
        np.add.at(block, (tap - tap.min(), np.arange(len(tap))[:, None]), part)
        blocks.append((int(tap.min()), torch.from_numpy(block)))
    return blocks


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys (1981), Cubic convolution interpolation, eq. 15."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
