"""Timing of a run: total, since the last log line, and the share spent waiting for data."""

import time
from collections.abc import Iterator
from typing import Any


class Clock:
    """A stopwatch with laps that measures the time spent waiting for data."""

    def __init__(self, elapsed: float, iteration: int) -> None:
        now = time.perf_counter()
        self._start = now - elapsed
        self._lap = now
        self._lap_iter = iteration
        self._waited = 0.0

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self._start

    def waiting(self, loader: Any) -> Iterator[Any]:
        """Yields the batches of `loader` and measures the time spent waiting for them."""
        batches = iter(loader)
        while True:
            before = time.perf_counter()
            batch = next(batches, None)
            self._waited += time.perf_counter() - before
            if batch is None:
                return
            yield batch

    def lap(self, iteration: int) -> tuple[float, float]:
        """Iterations per second since the last lap, and the share of the time spent waiting for data."""
        now = time.perf_counter()
        seconds, iterations, waited = now - self._lap, iteration - self._lap_iter, self._waited
        self._lap, self._lap_iter, self._waited = now, iteration, 0.0
        return iterations / seconds, waited / seconds
