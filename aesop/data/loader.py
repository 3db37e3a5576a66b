"""Batches by iteration: what a rank sees at iteration i depends on i, never on workers or on where the run began."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from aesop.errors import UserError

Batch = dict[str, Any]  # stacked (N, C, H, W) tensors, and lists of N names


class Loader:
    """A DataLoader whose workers tell a user's mistake as the sentence it is, without their traceback around it."""

    def __init__(self, dataset: Dataset, num_workers: int, **arguments: Any) -> None:
        self._loader = DataLoader(
            _Telling(dataset),
            num_workers=num_workers,
            collate_fn=_collate,
            worker_init_fn=_init_worker,
            generator=torch.Generator(),  # otherwise each pass draws a number from the global generator
            **arguments,
        )

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._loader:
            if isinstance(batch, UserError):
                raise batch
            yield batch


def train_loader(
    dataset: Dataset,
    batch_size: int,
    num_workers: int = 0,
    *,
    total_iter: int,
    start_iter: int = 0,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
    prefetch_factor: int | None = None,
) -> Loader:
    """The batches of iterations `start_iter` (0-based) to `total_iter` - 1.

    Iteration i of a rank holds the `batch_size` samples from n = (i * world_size + rank) * batch_size on, so a resumed
    run goes on as the uninterrupted one would have.

    Args:
        dataset: gives a sample for any n >= 0, all of one size: one with `gt_size`.
        batch_size: samples a rank.
        num_workers: worker processes a rank; 0 reads in this process.
        prefetch_factor: batches that each worker makes in advance.
    """
    batches = _Batches(range(start_iter, total_iter), batch_size, rank, world_size)
    ahead = prefetch_factor if num_workers else None
    return Loader(dataset, num_workers, batch_sampler=batches, pin_memory=pin_memory, prefetch_factor=ahead)


def val_loader(
    dataset: Dataset,
    rank: int = 0,
    world_size: int = 1,
    num_workers: int = 0,
    limit: int | None = None,
) -> Loader:
    """A rank's share of the whole images, or of the first `limit`: rank, rank + world_size, ... in batches of one."""
    count = len(dataset) if limit is None else min(limit, len(dataset))
    mine = range(rank, count, world_size)
    return Loader(dataset, num_workers, sampler=mine)


@dataclass
class _Batches:
    """The positions of each iteration's samples; made when asked for, a run may have millions."""

    iterations: range
    batch_size: int
    rank: int
    world_size: int

    def __len__(self) -> int:
        return len(self.iterations)

    def __iter__(self) -> Iterator[range]:
        for i in self.iterations:
            first = (i * self.world_size + self.rank) * self.batch_size
            yield range(first, first + self.batch_size)


class _Telling(Dataset):
    """Hands a UserError over as a value: raised in a worker, it would reach the user wrapped in a traceback."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def __getitem__(self, n: int) -> Batch | UserError:
        try:
            return self._dataset[n]
        except UserError as error:
            return error


def _collate(samples: list[Batch | UserError]) -> Batch | UserError:
    wrong = next((sample for sample in samples if isinstance(sample, UserError)), None)
    return wrong or default_collate(samples)


def _init_worker(_: int) -> None:
    cv2.setNumThreads(0)  # workers are the parallelism; torch limits itself to one thread in them
    for each in (signal.SIGINT, signal.SIGTERM):  # sent to the whole process group, they are for the run to answer:
        signal.signal(each, signal.SIG_IGN)  # without its workers it could not finish the iteration and save
