"""Augmentations that put two samples together: mixup, CutMix, ResizeMix, CutBlur (Yoo et al., CVPR 2020, for
super-resolution).

A sample is a dict with `gt` (C, H, W) in [0, 1], and `lq` (C, h, w) where it is given; what is done to one is done to
the other in the same place.
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
    """A rectangle of `other` in its place in `sample` (Yun et al., ICCV 2019).

    Args:
        alpha: mean of the share of the rectangle's sides; their deviation is 0.01.
    """
    return _pasted(sample, {key: other[key] for key in _images(sample)}, rng, rng.normal(alpha, 0.01))


def resizemix(
    sample: Sample, other: Sample, rng: np.random.Generator, shares: tuple[float, float] = (0.1, 0.8)
) -> Sample:
    """The whole of `other`, made smaller, in a rectangle of `sample` (Qin et al., arXiv 2012.11101).

    Args:
        shares: range of the share of the rectangle's sides.
    """
    return _pasted(sample, {key: other[key] for key in _images(sample)}, rng, rng.uniform(*shares), whole=True)


def cutblur(sample: Sample, other: Sample, rng: np.random.Generator, alpha: float = 0.7) -> Sample:
    """A rectangle of `lq` becomes the bicubic image of `gt`: the network learns not to sharpen what is sharp already.

    Without effect where `lq` is bicubic, or not given. `other` is not used.
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
    sample: Sample, sources: dict[str, Tensor], rng: np.random.Generator, share: float, whole: bool = False
) -> Sample:
    """A rectangle of `sources` in `sample`, on the pixels of the low-resolution image where there is one.

    Args:
        share: of the rectangle's sides in those of the image.
        whole: the sources are resized to the rectangle; else each gives what lies in its place.
    """
    h, w = sample['lq' if 'lq' in sample else 'gt'].shape[-2:]
    height, width = (min(side, max(1, int(side * share))) for side in (h, w))
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
