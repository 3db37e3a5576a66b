"""The base class of training sets that are made of other training sets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch.utils.data import Dataset


@dataclass(kw_only=True, eq=False, repr=False)
class CompositeDataset(Dataset):
    """Training set whose samples are made from the data sets in `_sets`, which subclasses set.

    Args:
        name: name in logs.
        scale: ground-truth pixels per low-resolution pixel, along each side.
        seed: seed of all random choices, including those of the data sets in it.
    """

    has_gt: ClassVar[bool] = True

    name: str | None = None
    scale: int = 4
    seed: int = 0
    _sets: list[Any] = field(init=False, default_factory=list)

    def __str__(self) -> str:
        return f'{type(self).__name__} "{self.name}"' if self.name else type(self).__name__

    def __len__(self) -> int:
        return sum(len(part) for part in self._sets)

    def open(self) -> None:
        """Opens the decode caches."""
        for part in self._sets:
            if hasattr(part, 'open'):
                part.open()

    def check(self) -> list[str]:
        """Problems of the files, one sentence each."""
        return [problem for part in self._sets for problem in part.check()]

    def _build(self, block: Mapping[str, Any], name: str | None) -> Any:
        from aesop.data import build_dataset

        return build_dataset(block, scale=self.scale, seed=self.seed, name=name)
