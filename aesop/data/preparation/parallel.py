"""Applies a function to many images in several processes, which can be killed at any time."""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

import cv2
import torch
from tqdm import tqdm

from aesop.errors import UserError

Job = TypeVar('Job')
Result = TypeVar('Result')
_AHEAD = 3  # queued jobs per process


def cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def parallel(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    problems: list[str],
    title: str = '',
    total: int | None = None,
    workers: int | None = None,
) -> Iterator[Result]:
    """`function(job)` of each job in `workers` processes, in the order of the jobs, with a progress bar.

    `jobs` is consumed lazily. The processes end with this one, however it ends.

    Args:
        function: picklable, like the jobs and results.
        problems: receives the messages of UserErrors that `function` raises; such a job has no result.
        title: title of the progress bar.
        total: number of jobs, if `jobs` has no length.
        workers: None: one per core; with one worker or one job, everything runs in this process.
    """
    if total is None and isinstance(jobs, Sized):
        total = len(jobs)
    workers = min(workers or cores(), total or 2)
    with tqdm(desc=title, total=total, unit='image', disable=None if total != 0 else True) as bar:
        for result in _here(function, jobs) if workers < 2 else _in_processes(function, jobs, workers):
            bar.update()
            if isinstance(result, UserError):
                problems += result.problems
            else:
                yield result


def _here(function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result | UserError]:
    for job in jobs:
        yield _result(function, job)


def _in_processes(function: Callable[[Job], Result], jobs: Iterable[Job], workers: int) -> Iterator[Result | UserError]:
    running: deque[Future] = deque()
    pool = ProcessPoolExecutor(workers, initializer=_init_process, initargs=(os.getpid(),))
    try:
        for job in jobs:
            running.append(pool.submit(_result, function, job))
            if len(running) > _AHEAD * workers:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    except BrokenProcessPool as error:
        raise UserError(
            'a worker process was killed, perhaps because memory ran out; use fewer with --workers. '
            'Run the same command again to resume'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _result(function: Callable[[Job], Result], job: Job) -> Result | UserError:
    """Returns UserErrors instead of raising them, which would add the traceback of the process."""
    try:
        return function(job)
    except UserError as error:
        return error


def _init_process(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()


def _exit_with(parent: int) -> None:
    """Exits when the parent is gone, which a waiting process of a pool does not notice."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def stamp(path: Path) -> dict[str, int]:
    """Size and modification time of a file; the stamp of a missing file differs from all others."""
    try:
        status = path.stat()
    except OSError:
        return {'bytes': -1}
    return {'bytes': status.st_size, 'mtime_ns': status.st_mtime_ns}
