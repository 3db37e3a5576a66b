"""Writes checkpoints in a thread, while training goes on."""

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent import futures
from typing import Any

import torch

from aesop.errors import UserError

logger = logging.getLogger(__name__)

RETRY = 60.0  # seconds after which a save that failed is tried again
LAST_TRIES = 10  # how often it is tried where the run ends
PATIENCE = 2 * LAST_TRIES * RETRY  # seconds that the other ranks wait for it


class AsyncCheckpointer:
    """One save at a time; one that fails is logged, and repeated later with the state that training has by then.

    What is written has to be a copy (`to_host`): training goes on changing the networks. When the process ends with an
    error, Python's exit waits for the save that is being written.
    """

    def __init__(self) -> None:
        self._thread = futures.ThreadPoolExecutor(1, thread_name_prefix='checkpointer')
        self._writing: list[futures.Future] = []
        self._queue: deque[Callable[[], Any]] = deque()
        self._failed_at: float | None = None  # by time.monotonic; None: the last save is on the disk

    def should_retry(self) -> bool:
        """Whether a save failed so long ago that it is time for another; says so once."""
        self._look([writing for writing in self._writing if writing.done()])
        due = self._failed_at is not None and time.monotonic() - self._failed_at > RETRY
        if due:
            self._failed_at = time.monotonic()
        return due

    def save(self, write: Callable[[], Any]) -> None:
        """Has `write` called in the thread, as soon as the save before has ended: memory holds one copy."""
        self.wait()
        self._submit(write)

    def enqueue(self, write: Callable[[], Any]) -> None:
        """As `save`, without waiting. No later save replaces it: if it fails, it is repeated before the next one."""
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
        """The last save of a run: tried again and again, unless `stopped` says that there is no time for it.

        Raises:
            UserError: it never worked.
        """
        for left in reversed(range(LAST_TRIES)):
            self.save(write)
            error = self.wait()
            if error is None:
                return
            if not left or stopped():
                raise error
            logger.warning('trying again in %.0f s, %d times more', RETRY, left)
            waited_from = time.monotonic()
            while time.monotonic() - waited_from < RETRY and not stopped():
                time.sleep(0.1)

    def wait(self) -> UserError | None:
        """Waits for what is being written; returns what went wrong with it, which has been logged."""
        return self._look(self._writing)

    def _look(self, ended: list[futures.Future]) -> UserError | None:
        error = None
        for writing in ended:
            error = writing.exception()
            if error is not None and not isinstance(error, UserError):
                raise error  # no matter of the disk
            self._failed_at = None if error is None else time.monotonic()
            if error is not None:
                logger.error('%s. What was saved before is whole; training goes on, and it is tried again', error)
        self._writing = [writing for writing in self._writing if writing not in ended]
        return error


def to_host(value: Any) -> Any:
    """A copy of nested dicts, lists and tuples, their tensors in the CPU's memory."""
    if isinstance(value, torch.Tensor):
        return value.detach().to('cpu', copy=True)
    if isinstance(value, dict):
        return {name: to_host(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_host(item) for item in value)
    return value
