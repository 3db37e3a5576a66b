"""Batches by iteration: what a rank sees at iteration i depends only on i, not on workers or restarts."""

import multiprocessing
import multiprocessing.connection
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from aesop.data.datasets.base import ImageDataset
from aesop.errors import RunEnded, UserError
from aesop.utils.images import to_tensor

Batch = dict[str, Any]  # stacked (N, C, H, W) tensors, and lists of N names

CPU = torch.device('cpu')
SHARED_MEMORY = (
    'there is not enough shared memory for the batches of the data workers ({}): set `num_worker_per_gpu: 0`, or start '
    'the container with more of it (docker run --shm-size=8g, or --ipc=host)'
)


class Loader:
    """A DataLoader that raises a worker's UserError without the worker's traceback.

    Workers return images as bytes; the loader yields the float tensors of `dataset[n]`, stacked, on `device`. On a GPU
    the next batch is copied and converted while the current one is in use.
    """

    def __init__(self, dataset: Any, num_workers: int, device: torch.device = CPU, **arguments: Any) -> None:
        self._dataset, self._device = dataset, device
        if hasattr(dataset, 'open'):
            dataset.open()  # before the workers start, so that they share the cache
        self._num_workers = num_workers
        self._loader = DataLoader(
            _UserErrorsAsValues(dataset),
            num_workers=num_workers,
            collate_fn=_collate,
            worker_init_fn=_init_worker,
            generator=torch.Generator(),  # otherwise each pass draws a number from the global generator
            **arguments,
        )

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        return prefetched(self._batches(), self._device, self._to_float)

    def _batches(self) -> Iterator[Batch]:
        for batch in self._from_workers() if self._num_workers else self._loader:
            if isinstance(batch, UserError):
                raise batch
            for skipped in batch.pop('skipped', ()):
                self._dataset.note_skipped(skipped)
            yield batch

    def _from_workers(self) -> Iterator[Batch | UserError]:
        """The batches that the workers load.

        Raises:
            UserError: not enough shared memory.
            RunEnded: a worker was killed.
        """
        try:
            multiprocessing.Lock()  # needs shared memory
        except OSError as error:
            raise UserError(SHARED_MEMORY.format(error)) from error
        others = set(multiprocessing.active_children())
        with _keep_sigchld_handler():
            batches = iter(self._loader)
        workers = set(multiprocessing.active_children()) - others
        try:
            yield from batches
        except (RuntimeError, EOFError, OSError) as error:  # the last two if it died while sending a batch
            if not isinstance(error, RuntimeError):  # its pipe breaks shortly before the worker has an exit code
                ended = multiprocessing.connection.wait([worker.sentinel for worker in workers], timeout=5)
                for worker in workers:
                    if worker.sentinel in ended:
                        worker.join(timeout=5)
            signals = {-code for worker in workers if (code := worker.exitcode or 0) < 0}
            if getattr(signal, 'SIGBUS', None) in signals:
                raise UserError(SHARED_MEMORY.format('a worker was killed by signal 7')) from error
            if signals:
                raise RunEnded(
                    f'a data worker was killed (signal {min(signals)}), most often because memory ran out: '
                    'lower num_worker_per_gpu or the batch size; --auto_resume continues from the last state'
                ) from error
            raise

    def _to_float(self, batch: Batch) -> Batch:
        return self._dataset.to_float(batch) if _has_raw_samples(self._dataset) else batch


def prefetched(batches: Iterable[Batch], device: torch.device, to_float: Callable[[Batch], Batch]) -> Iterator[Batch]:
    """Yields to_float(batch) for each batch; on a GPU, copies and converts one batch ahead on a separate stream.

    Tensors with one number per sample (indices, seeds) stay on the CPU, where they are read.
    """
    if device.type != 'cuda':
        yield from map(to_float, batches)
        return
    stream = torch.cuda.Stream(device)
    ahead = None
    for batch in batches:
        arrays = {key for key, value in batch.items() if isinstance(value, torch.Tensor) and value.ndim > 1}
        with torch.cuda.stream(stream):
            moved = {key: v.to(device, non_blocking=True) if key in arrays else v for key, v in batch.items()}
            coming = to_float(moved), stream.record_event()
        if ahead is not None:
            yield _wait_for(*ahead)
        ahead = coming
    if ahead is not None:
        yield _wait_for(*ahead)


def _wait_for(batch: Batch, ready: Any) -> Batch:
    """Makes the current stream wait for a batch that another stream prepared."""
    for value in batch.values():
        if isinstance(value, torch.Tensor) and value.is_cuda:
            current = torch.cuda.current_stream(value.device)
            current.wait_event(ready)
            value.record_stream(current)  # its memory is not reused before this stream is done with it
    return batch


def waiting_advice(block: Mapping[str, Any]) -> str:
    """How to speed up a training set that the training waits for."""
    workers = block.get('num_worker_per_gpu', 0)
    more = f'raise num_worker_per_gpu (now {workers})'
    cached = block.get('cache', 'none') != 'none'
    return more if cached else f'set cache: disk, so that no image is decoded twice, or {more}'


def train_loader(
    dataset: Dataset,
    batch_size: int,
    num_workers: int = 0,
    *,
    total_iter: int,
    start_iter: int = 0,
    start_sample: int | None = None,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
    prefetch_factor: int | None = None,
    device: torch.device = CPU,
) -> Loader:
    """The batches of iterations `start_iter` (0-based) to `total_iter` - 1.

    Iteration i of a rank consists of `batch_size` samples from n = (i * world_size + rank) * batch_size on, so a
    resumed run continues exactly like an uninterrupted one.

    Args:
        dataset: returns a sample for any n >= 0, all of one size (set `gt_size`).
        batch_size: samples per rank.
        num_workers: worker processes per rank; 0 reads in this process.
        start_sample: first n, if the number of ranks or the batch size has changed since the run began.
        prefetch_factor: batches that each worker prepares in advance.
        device: device of the batches.
    """
    first = start_iter * world_size * batch_size if start_sample is None else start_sample
    batches = _Batches(first, total_iter - start_iter, batch_size, rank, world_size)
    ahead = prefetch_factor if num_workers else None
    return Loader(dataset, num_workers, device, batch_sampler=batches, pin_memory=pin_memory, prefetch_factor=ahead)


def val_loader(dataset: Any, positions: Sequence[int] | None = None, num_workers: int = 0) -> Loader:
    """The whole images at `positions` (None: all), in batches of one."""
    return Loader(dataset, num_workers, sampler=range(len(dataset)) if positions is None else positions)


@dataclass
class _Batches:
    """The sample positions of each iteration, generated lazily: a run may have millions."""

    first: int
    iterations: int
    batch_size: int
    rank: int
    world_size: int

    def __len__(self) -> int:
        return self.iterations

    def __iter__(self) -> Iterator[range]:
        for i in range(self.iterations):
            first = self.first + (i * self.world_size + self.rank) * self.batch_size
            yield range(first, first + self.batch_size)


class _UserErrorsAsValues(Dataset):
    """Returns a UserError instead of raising it: a worker would wrap it in a traceback."""

    def __init__(self, dataset: Any) -> None:
        self._sample = dataset.raw if _has_raw_samples(dataset) else dataset.__getitem__

    def __getitem__(self, n: int) -> Batch | UserError:
        try:
            return self._sample(n)
        except UserError as error:
            return error


def _has_raw_samples(dataset: Dataset) -> bool:
    """Whether samples can be converted in batches. A class that overrides `__getitem__` returns complete samples."""
    return isinstance(dataset, ImageDataset) and type(dataset).__getitem__ is ImageDataset.__getitem__


def _collate(samples: list[Any]) -> Batch | UserError:
    wrong = next((sample for sample in samples if isinstance(sample, UserError)), None)
    if wrong is not None:
        return wrong
    skipped = [sample.pop('skipped') for sample in samples if 'skipped' in sample]
    for key in [key for key, value in samples[0].items() if isinstance(value, np.ndarray)]:
        images = [sample[key] for sample in samples]
        as_bytes = all(image.dtype == np.uint8 for image in images)  # PyTorch lacks operations on uint16
        for sample, image in zip(samples, images):
            sample[key] = torch.from_numpy(np.require(image, requirements=['C', 'W'])) if as_bytes else to_tensor(image)
    try:
        batch = default_collate(samples)
    except (RuntimeError, OSError) as error:
        if get_worker_info() is None or 'shared memory' not in str(error):
            raise
        return UserError(SHARED_MEMORY.format(str(error).partition('\n')[0]))
    return batch | {'skipped': skipped} if skipped else batch


@contextmanager
def _keep_sigchld_handler() -> Iterator[None]:
    """Restores the SIGCHLD handler: DataLoader's raises at an arbitrary line when a worker ends."""
    number = getattr(signal, 'SIGCHLD', None)
    if number is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(number)
    yield
    signal.signal(number, before)


def _init_worker(_: int) -> None:
    cv2.setNumThreads(0)  # workers are the parallelism; torch limits itself to one thread in them
    # Signals to the process group are handled by the run, which needs its workers to finish the iteration and save.
    for name in ('SIGINT', 'SIGTERM', 'SIGUSR1'):
        if hasattr(signal, name):  # Windows has no SIGUSR1
            signal.signal(getattr(signal, name), signal.SIG_IGN)
