"""Several data sets mixed in one stream of training samples, in fixed proportions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aesop.data.datasets.composite import CompositeDataset
from aesop.errors import UserError, error_context
from aesop.registry import DATASETS, InnerDataset

ORDER = 3  # (seed, block, ORDER) seeds the order of the parts in a block
LARGEST_BLOCK = 1000  # samples; proportions are rounded to this


@DATASETS.register()
@dataclass(kw_only=True, eq=False, repr=False)
class MixedDataset(CompositeDataset):
    """Samples of several training sets, in random order and fixed proportions.

    The stream consists of blocks that contain each part in exactly its proportion, in an order drawn from (seed,
    block); each part yields its own samples 0, 1, 2, ... in order.

    Args:
        parts: blocks of data sets `{type: ..., **arguments}` whose samples have the same entries and sizes.
        ratios: weight of each part: [3, 1] takes three samples of the first part for each of the second. Default: the
            numbers of images, as if all were in one folder.
        common: arguments of all parts, unless a part sets them itself.
        gt_size: side of the ground-truth crop of all parts.
        name, scale, seed: see `CompositeDataset`.
    """

    parts: list[InnerDataset]
    ratios: Sequence[float] | None = None
    common: dict[str, Any] = field(default_factory=dict)
    gt_size: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.parts, list) or not self.parts:
            raise UserError(f'{self}: parts must be a list of data sets {{type: ..., ...}}')
        for number, block in enumerate(self.parts):
            with error_context(f'parts.{number}'):
                block = {**self.common, **({'gt_size': self.gt_size} if self.gt_size else {}), **block}
                self._sets.append(self._build(block, f'{self.name}.{number}'))
        lengths = [len(part) for part in self._sets]
        self.counts = counts(self.ratios or lengths)
        if len(self.counts) != len(self._sets):
            raise UserError(f'{self}: {len(self._sets)} parts need as many ratios, got {len(self.counts)}')
        self._starts = np.cumsum([0, *lengths])

    def __getitem__(self, n: int) -> dict[str, Any]:
        number, position = self.locate(n)
        sample = self._sets[number][position]
        if 'index' in sample:
            sample['index'] = int(sample['index'] + self._starts[number])
        return sample

    def locate(self, n: int) -> tuple[int, int]:
        """The part that sample n comes from, and the sample's position in that part."""
        block, position = divmod(n, sum(self.counts))
        order = np.repeat(np.arange(len(self.counts)), self.counts)
        np.random.default_rng((self.seed, block, ORDER)).shuffle(order)
        number = int(order[position])
        return number, block * self.counts[number] + int((order[:position] == number).sum())

    def check(self) -> list[str]:
        problems = super().check()
        if not problems:
            entries = {tuple(sorted((key, *np.shape(v)) for key, v in part[0].items())) for part in self._sets}
            if len(entries) > 1:
                problems = [f'{self}: the samples of its parts differ in entries or sizes: {entries}']
        return problems


def counts(ratios: Sequence[float]) -> list[int]:
    """The smallest whole numbers in the proportion of `ratios`, each at least 1."""
    if not all(isinstance(ratio, int | float) and math.isfinite(ratio) and ratio > 0 for ratio in ratios):
        raise UserError(f'ratios: {list(ratios)} must be numbers above 0; to use no samples of a part, remove it')
    if all(float(ratio).is_integer() for ratio in ratios) and sum(ratios) <= LARGEST_BLOCK:
        whole = [int(ratio) for ratio in ratios]
    else:
        whole = [max(1, round(LARGEST_BLOCK * ratio / sum(ratios))) for ratio in ratios]
    divisor = math.gcd(*whole)
    return [count // divisor for count in whole]
