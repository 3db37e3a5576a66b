"""Low-resolution images by a recipe of degradations, each with its probability; made by the workers, on the CPU."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch.utils.data import Dataset

from aesop.data.degradation.steps import build_steps, resized
from aesop.errors import UserError, error_context
from aesop.registry import DATASETS, InnerDataset
from aesop.utils.images import quantise

CHOICE = 5  # (seed, n, CHOICE): what is done to sample n


@DATASETS.register()
@dataclass(kw_only=True, eq=False, repr=False)
class DegradedDataset(Dataset):
    """Pairs whose low-resolution image is the ground truth after `steps`, brought to its size and rounded to 8 bits.

    As it gives pairs, `MixedDataset` mixes it with others, e.g. with pairs from a camera.

    Args:
        dataset: block of a training set that gives `gt`, e.g. `{type: BicubicImageDataset, dataroot_gt: ...}`.
        steps: see `aesop.data.degradation.steps.build_steps`; after them the image is resized to 1 / scale.
        gt_size: side of the ground-truth crop; a multiple of `scale`.
        margin: low-resolution pixels around a crop that are degraded with it and cut off.
        modes: how the result is resized to 1 / scale.
        name: what it is called in logs.
        scale: ground-truth pixels per low-resolution pixel.
        seed: of all random choices, those of `dataset` too.
    """

    has_gt: ClassVar[bool] = True

    dataset: InnerDataset
    steps: list[dict[str, Any]]
    gt_size: int
    margin: int = 8
    modes: Sequence[str] = ('area', 'bilinear', 'bicubic')
    name: str | None = None
    scale: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        from aesop.data import build_dataset

        if self.gt_size % self.scale:
            raise UserError(f'DegradedDataset: gt_size {self.gt_size} is not a multiple of scale {self.scale}')
        self._degrade = build_steps(self.steps)
        block = {**self.dataset, 'gt_size': self.gt_size + 2 * self.margin * self.scale}
        with error_context('dataset'):
            self._set = build_dataset(block, scale=self.scale, seed=self.seed, name=self.name)

    def __len__(self) -> int:
        return len(self._set)

    def __getitem__(self, n: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, n, CHOICE))
        sample = self._set[n]
        whole = np.ascontiguousarray(sample['gt'].permute(1, 2, 0).numpy())
        size = [side // self.scale for side in whole.shape[:2]]
        lq = torch.from_numpy(resized(self._degrade(whole, rng), size, rng, self.modes)).permute(2, 0, 1)
        inner = [slice(m, side - m) for side, m in zip(size, [self.margin] * 2)]
        outer = [slice(self.scale * part.start, self.scale * part.stop) for part in inner]
        pair = {'lq': quantise(lq[:, inner[0], inner[1]]), 'gt': sample['gt'][:, outer[0], outer[1]]}
        return {**sample, **{key: images.contiguous() for key, images in pair.items()}}

    def open(self) -> None:
        if hasattr(self._set, 'open'):
            self._set.open()

    def check(self) -> list[str]:
        return self._set.check()
