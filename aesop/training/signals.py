"""How a run is told to save and end: by SIGTERM, SIGINT (Ctrl-C) or SIGUSR1 (SLURM's, before the time is up)."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collects these signals instead of dying of them: the loop ends at the next step, saved."""
    received: list[int] = []
    previous = {
        number: signal.signal(number, lambda got, _: received.append(got))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    }
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
