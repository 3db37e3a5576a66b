"""Signals that make a run save and stop: SIGTERM, SIGINT (Ctrl-C), SIGUSR1 (from SLURM, before the time limit)."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOP = tuple(getattr(signal, name) for name in ('SIGTERM', 'SIGINT', 'SIGUSR1') if hasattr(signal, name))


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collects these signals, so that the loop can save and stop at the next step."""
    received: list[int] = []
    previous = {number: signal.signal(number, lambda got, _: received.append(got)) for number in STOP}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
