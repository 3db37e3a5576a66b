"""Augmentations that combine two samples: mixup, CutMix, ResizeMix, CutBlur (Yoo et al., CVPR 2020, for
super-resolution).

A sample is a dict with `gt` (C, H, W) in [0, 1] and, optionally, `lq` (C, h, w); both are changed in the same place.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from aesop.utils.imresize import imresize

Sample = dict[str, Any]


def mixup(sample: Sample, other: Sample, rng: np.random.Generator, alpha: float = 1.2) -> Sample:
    """l * sample + (1 - l) * other with l from Beta(alpha, alpha) (Zhang et al., ICLR 2018)."""
    share = float(rng.beta(alpha, alpha))
    return sample | {key: share * sample[key] + (1 - share) * other[key] for key in _images(sample)}


def cutmix(sample: Sample, other: Sample, rng: np.random.Generator, alpha: float = 0.7) -> Sample:
    """Replaces a rectangle of `sample` by the same rectangle of `other` (Yun et al., ICCV 2019).

    Args:
        alpha: mean ratio of the rectangle's sides to those of the image; the standard deviation is 0.01.
    """
    return _pasted(sample, {key: other[key] for key in _images(sample)}, rng, rng.normal(alpha, 0.01))


def resizemix(
    sample: Sample, other: Sample, rng: np.random.Generator, ratios: tuple[float, float] = (0.1, 0.8)
) -> Sample:
    """Replaces a rectangle of `sample` by all of `other`, downscaled (Qin et al., arXiv 2012.11101).

    Args:
        ratios: range of the ratio of the rectangle's sides to those of the image.
    """
    return _pasted(sample, {key: other[key] for key in _images(sample)}, rng, rng.uniform(*ratios), whole=True)


def cutblur(sample: Sample, other: Sample, rng: np.random.Generator, alpha: float = 0.7) -> Sample:
    """Replaces a rectangle of `lq` by the bicubic downscaling of `gt`: the network learns not to sharpen sharp regions.

    No effect if `lq` is bicubic or missing. `other` is not used.
    """
    if 'lq' not in sample:
        return sample
    scale = sample['gt'].shape[-1] // sample['lq'].shape[-1]
    return _pasted(sample, {'lq': imresize(sample['gt'], 1 / scale).clamp(0, 1)}, rng, rng.normal(alpha, 0.01))


AUGMENTATIONS: dict[str, Callable[[Sample, Sample, np.random.Generator], Sample]] = {
    'mixup': mixup,
    'cutmix': cutmix,
    'resizemix': resizemix,
    'cutblur': cutblur,
}


def _images(sample: Sample) -> list[str]:
    return [key for key in ('lq', 'gt') if key in sample]


def _pasted(
    sample: Sample, sources: dict[str, Tensor], rng: np.random.Generator, ratio: float, whole: bool = False
) -> Sample:
    """Pastes a rectangle of `sources` into `sample`, aligned to the low-resolution pixels if there are any.

    Args:
        ratio: sides of the rectangle divided by those of the image.
        whole: resize the sources to the rectangle instead of cutting it out of them.
    """
    h, w = sample['lq' if 'lq' in sample else 'gt'].shape[-2:]
    height, width = (min(side, max(1, int(side * ratio))) for side in (h, w))
    top, left = int(rng.integers(h - height + 1)), int(rng.integers(w - width + 1))
    done = dict(sample)
    for key, source in sources.items():
        factor = source.shape[-1] // w
        rows, columns = (slice(factor * a, factor * (a + b)) for a, b in ((top, height), (left, width)))
        if whole:
            size = (factor * height, factor * width)
            piece = F.interpolate(source[None], size, mode='bicubic', antialias=True)[0].clamp(0, 1)
        else:
            piece = source[..., rows, columns]
        done[key] = sample[key].clone()
        done[key][..., rows, columns] = piece
    return done
