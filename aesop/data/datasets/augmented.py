"""A training set some of whose samples are put together of two: mixup, CutMix, ResizeMix, CutBlur."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from torch.utils.data import Dataset

from aesop.data.augmentations import AUGMENTATIONS
from aesop.errors import UserError, error_context
from aesop.registry import DATASETS, InnerDataset, did_you_mean

CHOICE = 4  # (seed, n, CHOICE): what is done to sample n, and with which other sample
FAR = 2**31  # other samples are drawn from this many positions


@DATASETS.register()
@dataclass(kw_only=True, eq=False, repr=False)
class AugmentedDataset(Dataset):
    """Sample n of another training set, augmented with the given probabilities; all choices are drawn from (seed, n).

    Args:
        dataset: block of the training set `{type: ..., **arguments}`.
        augmentations: probability of each of mixup, cutmix, resizemix and cutblur; their sum is at most 1, and the
            rest of the samples stay as they are.
        gt_size: side of the ground-truth crop.
        name: what it is called in logs.
        scale: see `CropDataset`; the training set is given it.
        seed: of all random choices, those of the training set too.
    """

    has_gt: ClassVar[bool] = True

    dataset: InnerDataset
    augmentations: dict[str, float] = field(default_factory=lambda: {'mixup': 0.25, 'cutmix': 0.25})
    gt_size: int | None = None
    name: str | None = None
    scale: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        from aesop.data import build_dataset

        for key, probability in self.augmentations.items():
            if key not in AUGMENTATIONS:
                raise UserError(f'augmentations: unknown value "{key}".{did_you_mean(key, list(AUGMENTATIONS))}')
            if not 0 <= probability <= 1:
                raise UserError(f'augmentations.{key}: {probability} is no probability')
        if sum(self.augmentations.values()) > 1 + 1e-6:
            raise UserError(
                f'augmentations: their probabilities add up to {sum(self.augmentations.values()):g}, above 1'
            )
        with error_context('dataset'):
            block = {**({'gt_size': self.gt_size} if self.gt_size else {}), **self.dataset}
            self._set = build_dataset(block, scale=self.scale, seed=self.seed, name=self.name)

    def __len__(self) -> int:
        return len(self._set)

    def __getitem__(self, n: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, n, CHOICE))
        sample, drawn, reached = self._set[n], rng.random(), 0.0
        for name, probability in self.augmentations.items():
            reached += probability
            if drawn < reached:
                return AUGMENTATIONS[name](sample, self._set[int(rng.integers(FAR))], rng)
        return sample

    def open(self) -> None:
        if hasattr(self._set, 'open'):
            self._set.open()

    def check(self) -> list[str]:
        return self._set.check()
