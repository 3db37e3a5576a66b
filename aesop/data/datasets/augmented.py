"""A training set in which some samples combine two others: mixup, CutMix, ResizeMix, CutBlur."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aesop.data.augmentations import AUGMENTATIONS
from aesop.data.datasets.composite import CompositeDataset
from aesop.errors import UserError, error_context
from aesop.registry import DATASETS, InnerDataset, did_you_mean

CHOICE = 4  # (seed, n, CHOICE) seeds the augmentation of sample n
POSITIONS = 2**31  # the other sample is drawn from this many


@DATASETS.register()
@dataclass(kw_only=True, eq=False, repr=False)
class AugmentedDataset(CompositeDataset):
    """The samples of another training set, augmented with the given probabilities; sample n depends only on (seed, n).

    Args:
        dataset: block of the training set `{type: ..., **arguments}`.
        augmentations: probabilities of mixup, cutmix, resizemix and cutblur; their sum is at most 1, and the remaining
            samples are unchanged.
        gt_size: side of the ground-truth crop.
        name, scale, seed: see `CompositeDataset`.
    """

    dataset: InnerDataset
    augmentations: dict[str, float] = field(default_factory=lambda: {'mixup': 0.25, 'cutmix': 0.25})
    gt_size: int | None = None

    def __post_init__(self) -> None:
        for key, probability in self.augmentations.items():
            if key not in AUGMENTATIONS:
                raise UserError(f'augmentations: unknown value "{key}".{did_you_mean(key, list(AUGMENTATIONS))}')
            if not 0 <= probability <= 1:
                raise UserError(f'augmentations.{key}: {probability} is not a probability; set it between 0 and 1')
        if sum(self.augmentations.values()) > 1 + 1e-6:
            raise UserError(
                f'augmentations: the probabilities add up to {sum(self.augmentations.values()):g}; the limit is 1'
            )
        with error_context('dataset'):
            block = {**({'gt_size': self.gt_size} if self.gt_size else {}), **self.dataset}
            self._sets = [self._build(block, self.name)]

    def __getitem__(self, n: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, n, CHOICE))
        (dataset,) = self._sets
        sample, drawn, cumulative = dataset[n], rng.random(), 0.0
        for name, probability in self.augmentations.items():
            cumulative += probability
            if drawn < cumulative:
                return AUGMENTATIONS[name](sample, dataset[int(rng.integers(POSITIONS))], rng)
        return sample
