"""How a run is told to save and end: by SIGTERM, SIGINT (Ctrl-C) or SIGUSR1 (SLURM's, before the time is up)."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOP = tuple(getattr(signal, name) for name in ('SIGTERM', 'SIGINT', 'SIGUSR1') if hasattr(signal, name))


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collects these signals, so that the loop can save and end at the next step."""
    received: list[int] = []
    previous = {number: signal.signal(number, lambda got, _: received.append(got)) for number in STOP}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
