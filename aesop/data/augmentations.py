"""Augmentations that put two samples together: mixup, CutMix, CutBlur (Yoo et al., CVPR 2020, for super-resolution).

A sample is a dict with `gt` (C, H, W) in [0, 1], and `lq` (C, h, w) where it is given; what is done to one is done to
the other in the same place.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from aesop.utils.imresize import imresize

Sample = dict[str, Any]


def mixup(sample: Sample, other: Sample, rng: np.random.Generator, alpha: float = 1.2) -> Sample:
    """l * sample + (1 - l) * other with l from Beta(alpha, alpha) (Zhang et al., ICLR 2018)."""
    share = float(rng.beta(alpha, alpha))
    return sample | {key: share * sample[key] + (1 - share) * other[key] for key in _images(sample)}


def cutmix(sample: Sample, other: Sample, rng: np.random.Generator, alpha: float = 0.7) -> Sample:
    """A rectangle of `other` in its place in `sample` (Yun et al., ICCV 2019).

    Args:
        alpha: mean of the share of the rectangle's sides; their deviation is 0.01.
    """
    return _pasted(sample, {key: other[key] for key in _images(sample)}, rng, alpha)


def cutblur(sample: Sample, other: Sample, rng: np.random.Generator, alpha: float = 0.7) -> Sample:
    """A rectangle of `lq` becomes the bicubic image of `gt`: the network learns not to sharpen what is sharp already.

    Without effect where `lq` is bicubic, or not given. `other` is not used.
    """
    if 'lq' not in sample:
        return sample
    scale = sample['gt'].shape[-1] // sample['lq'].shape[-1]
    return _pasted(sample, {'lq': imresize(sample['gt'], 1 / scale).clamp(0, 1)}, rng, alpha)


AUGMENTATIONS: dict[str, Callable[[Sample, Sample, np.random.Generator], Sample]] = {
    'mixup': mixup,
    'cutmix': cutmix,
    'cutblur': cutblur,
}


def _images(sample: Sample) -> list[str]:
    return [key for key in ('lq', 'gt') if key in sample]


def _pasted(sample: Sample, sources: dict[str, Tensor], rng: np.random.Generator, alpha: float) -> Sample:
    """A rectangle of `sources` in `sample`, on the pixels of the low-resolution image where there is one."""
    h, w = sample['lq' if 'lq' in sample else 'gt'].shape[-2:]
    share = float(np.clip(rng.normal(alpha, 0.01), 0, 1))
    height, width = max(1, int(h * share)), max(1, int(w * share))
    top, left = int(rng.integers(h - height + 1)), int(rng.integers(w - width + 1))
    done = dict(sample)
    for key, source in sources.items():
        factor = source.shape[-1] // w
        rows, columns = (slice(factor * a, factor * (a + b)) for a, b in ((top, height), (left, width)))
        done[key] = sample[key].clone()
        done[key][..., rows, columns] = source[..., rows, columns]
    return done
