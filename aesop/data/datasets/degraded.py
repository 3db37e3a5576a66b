"""Low-resolution images made by a configurable sequence of random degradations, on the CPU by the data workers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from aesop.data.datasets.composite import CompositeDataset
from aesop.data.degradation.steps import build_steps, resized
from aesop.errors import UserError, error_context
from aesop.registry import DATASETS, CountOrZero, InnerDataset
from aesop.utils.images import quantise

CHOICE = 5  # (seed, n, CHOICE) seeds the degradation of sample n


@DATASETS.register()
@dataclass(kw_only=True, eq=False, repr=False)
class DegradedDataset(CompositeDataset):
    """Pairs whose low-resolution image is the ground truth after `steps`, resized to 1 / scale and rounded to 8 bits.

    `MixedDataset` can mix them with other pairs, e.g. from a camera.

    Args:
        dataset: block of a training set with `gt`, e.g. `{type: BicubicImageDataset, dataroot_gt: ...}`.
        steps: see `aesop.data.degradation.steps.build_steps`.
        gt_size: side of the ground-truth crop; a multiple of `scale`.
        margin: low-resolution pixels around a crop that are degraded with it and then cropped off.
        modes: interpolations to choose from for the resize to 1 / scale.
        name, scale, seed: see `CompositeDataset`.
    """

    dataset: InnerDataset
    steps: list[dict[str, Any]]
    gt_size: int
    margin: CountOrZero = 8
    modes: Sequence[str] = ('area', 'bilinear', 'bicubic')

    def __post_init__(self) -> None:
        if self.gt_size % self.scale:
            raise UserError(f'DegradedDataset: gt_size {self.gt_size} is not a multiple of scale {self.scale}')
        self._degrade = build_steps(self.steps)
        block = {**self.dataset, 'gt_size': self.gt_size + 2 * self.margin * self.scale}
        with error_context('dataset'):
            self._sets = [self._build(block, self.name)]

    def __getitem__(self, n: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, n, CHOICE))
        sample = self._sets[0][n]
        whole = np.ascontiguousarray(sample['gt'].permute(1, 2, 0).numpy())
        size = [side // self.scale for side in whole.shape[:2]]
        lq = torch.from_numpy(resized(self._degrade(whole, rng), size, rng, self.modes)).permute(2, 0, 1)
        inner = [slice(m, side - m) for side, m in zip(size, [self.margin] * 2)]
        outer = [slice(self.scale * part.start, self.scale * part.stop) for part in inner]
        pair = {'lq': quantise(lq[:, inner[0], inner[1]]), 'gt': sample['gt'][:, outer[0], outer[1]]}
        return {**sample, **{key: images.contiguous() for key, images in pair.items()}}
