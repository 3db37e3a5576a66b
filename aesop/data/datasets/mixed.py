"""Several data sets in one stream of training samples, each with its share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from torch.utils.data import Dataset

from aesop.errors import UserError, error_context
from aesop.registry import DATASETS, InnerDataset

ORDER = 3  # (seed, block, ORDER): which part each sample of a block is of
PARTS_OF = 1000  # shares are rounded to this


@DATASETS.register()
@dataclass(kw_only=True, eq=False, repr=False)
class MixedDataset(Dataset):
    """Sample n is of one of several training sets, which take turns at random in fixed shares.

    Samples come in blocks in which each part has exactly its share, in an order drawn from (seed, block); each part
    gives its own samples 0, 1, 2, ... one after the other.

    Args:
        parts: blocks of data sets `{type: ..., **arguments}` that give samples of one size with the same entries.
        ratios: share of each part, in any unit: [3, 1] takes three samples of the first for one of the second. Default:
            the numbers of images, as if all were in one folder.
        common: arguments of all parts that do not say otherwise.
        gt_size: side of the ground-truth crop, of all parts.
        name: what it is called in logs.
        scale: see `CropDataset`; the parts are given it.
        seed: of all random choices, those of the parts too.
    """

    has_gt: ClassVar[bool] = True

    parts: list[InnerDataset]
    ratios: Sequence[float] | None = None
    common: dict[str, Any] = field(default_factory=dict)
    gt_size: int | None = None
    name: str | None = None
    scale: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        from aesop.data import build_dataset

        if not isinstance(self.parts, list) or not self.parts:
            raise UserError(f'{self}: parts has to be a list of data sets {{type: ..., ...}}')
        self._sets = []
        for number, block in enumerate(self.parts):
            with error_context(f'parts.{number}'):
                block = {**self.common, **({'gt_size': self.gt_size} if self.gt_size else {}), **block}
                self._sets.append(build_dataset(block, scale=self.scale, seed=self.seed, name=f'{self.name}.{number}'))
        lengths = [len(part) for part in self._sets]
        self.counts = counts(self.ratios or lengths)
        if len(self.counts) != len(self._sets):
            raise UserError(f'{self}: {len(self._sets)} parts need as many ratios, got {len(self.counts)}')
        self._starts = np.cumsum([0, *lengths])

    def __str__(self) -> str:
        return f'MixedDataset "{self.name}"' if self.name else 'MixedDataset'

    def __len__(self) -> int:
        return sum(len(part) for part in self._sets)

    def __getitem__(self, n: int) -> dict[str, Any]:
        number, position = self.place(n)
        sample = self._sets[number][position]
        if 'index' in sample:
            sample['index'] = int(sample['index'] + self._starts[number])
        return sample

    def place(self, n: int) -> tuple[int, int]:
        """Which part sample n is of, and which of its samples it is."""
        block, position = divmod(n, sum(self.counts))
        order = np.repeat(np.arange(len(self.counts)), self.counts)
        np.random.default_rng((self.seed, block, ORDER)).shuffle(order)
        number = int(order[position])
        return number, block * self.counts[number] + int((order[:position] == number).sum())

    def open(self) -> None:
        for part in self._sets:
            if hasattr(part, 'open'):
                part.open()

    def check(self) -> list[str]:
        """What is wrong with the files, one sentence each."""
        problems = [problem for part in self._sets for problem in part.check()]
        if not problems:
            entries = {tuple(sorted((key, *np.shape(v)) for key, v in part[0].items())) for part in self._sets}
            if len(entries) > 1:
                problems = [f'{self}: the samples of its parts differ in entries or sizes: {entries}']
        return problems


def counts(ratios: Sequence[float]) -> list[int]:
    """Whole numbers in the proportion of `ratios`, the smallest ones; each at least 1."""
    if not all(isinstance(ratio, int | float) and math.isfinite(ratio) and ratio > 0 for ratio in ratios):
        raise UserError(f'ratios: {list(ratios)} has to be numbers above 0; leave a part out that shall have none')
    if all(float(ratio).is_integer() for ratio in ratios) and sum(ratios) <= PARTS_OF:
        whole = [int(ratio) for ratio in ratios]
    else:
        whole = [max(1, round(PARTS_OF * ratio / sum(ratios))) for ratio in ratios]
    divisor = math.gcd(*whole)
    return [count // divisor for count in whole]
