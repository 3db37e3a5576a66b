"""Writes checkpoints in a background thread."""

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent import futures
from typing import Any

import torch

from aesop.errors import UserError

logger = logging.getLogger(__name__)

RETRY = 60.0  # seconds until a failed save is retried
LAST_TRIES = 10  # retries at the end of a run
PATIENCE = 2 * LAST_TRIES * RETRY  # seconds that the other ranks wait for it


class AsyncCheckpointer:
    """One save at a time; a failed save is logged and retried later with the then current state.

    Pass copies (`to_host`), since training continues to change the networks. If the process ends with an error,
    Python's exit waits for the save in progress.
    """

    def __init__(self) -> None:
        self._thread = futures.ThreadPoolExecutor(1, thread_name_prefix='checkpointer')
        self._writing: list[futures.Future] = []
        self._queue: deque[Callable[[], Any]] = deque()
        self._failed_at: float | None = None  # by time.monotonic; None: the last save is on the disk

    def should_retry(self) -> bool:
        """Whether it is time to retry a failed save; True only once per failure."""
        self._look([writing for writing in self._writing if writing.done()])
        due = self._failed_at is not None and time.monotonic() - self._failed_at > RETRY
        if due:
            self._failed_at = time.monotonic()
        return due

    def save(self, write: Callable[[], Any]) -> None:
        """Calls `write` in the thread once the previous save has finished: only one copy is in memory."""
        self.wait()
        self._submit(write)

    def enqueue(self, write: Callable[[], Any]) -> None:
        """Like `save`, without waiting. It is never superseded: if it fails, it is retried before the next save."""
        self._queue.append(write)
        self._submit(lambda: None)

    def _submit(self, write: Callable[[], Any]) -> None:
        self._writing.append(self._thread.submit(self._write, write))

    def _write(self, write: Callable[[], Any]) -> None:
        while self._queue:
            self._queue[0]()
            self._queue.popleft()
        write()

    def save_and_wait(self, write: Callable[[], Any], stopped: Callable[[], bool] = lambda: False) -> None:
        """The last save of a run, retried up to LAST_TRIES times unless `stopped` returns True.

        Raises:
            UserError: all attempts failed.
        """
        for left in reversed(range(LAST_TRIES)):
            self.save(write)
            error = self.wait()
            if error is None:
                return
            if not left or stopped():
                raise error
            logger.warning('retrying in %.0f s, %d attempts left', RETRY, left)
            waited_from = time.monotonic()
            while time.monotonic() - waited_from < RETRY and not stopped():
                time.sleep(0.1)

    def wait(self) -> UserError | None:
        """Waits for the save in progress; returns its error, which has been logged."""
        return self._look(self._writing)

    def _look(self, ended: list[futures.Future]) -> UserError | None:
        error = None
        for writing in ended:
            error = writing.exception()
            if error is not None and not isinstance(error, UserError):
                raise error  # not a disk problem
            self._failed_at = None if error is None else time.monotonic()
            if error is not None:
                logger.error('%s. Earlier saves are intact; training continues, and the save will be retried', error)
        self._writing = [writing for writing in self._writing if writing not in ended]
        return error


def to_host(value: Any) -> Any:
    """Copies nested dicts, lists and tuples, with tensors moved to the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to('cpu', copy=True)
    if isinstance(value, dict):
        return {name: to_host(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_host(item) for item in value)
    return value
