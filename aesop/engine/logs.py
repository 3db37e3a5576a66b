"""Console, log file and TensorBoard of a run."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import MemoryHandler
from pathlib import Path

FORMAT = logging.Formatter('%(asctime)s %(levelname)s: %(message)s')


@contextmanager
def console(is_main: bool) -> Iterator[None]:
    """Shows the package's messages while a run lasts: all of the main rank's, the warnings of the others."""
    package = logging.getLogger('aesop')
    package.setLevel(logging.INFO if is_main else logging.WARNING)
    shown = logging.StreamHandler(sys.stdout)
    shown.setFormatter(FORMAT)
    before = list(package.handlers)
    package.addHandler(shown)
    package.addHandler(MemoryHandler(capacity=10_000, flushLevel=logging.CRITICAL + 1))
    try:
        yield
    finally:
        for handler in [handler for handler in package.handlers if handler not in before]:
            package.removeHandler(handler)
            handler.close()


def also_to(file: Path) -> None:
    """Writes the messages to `file` too, what was said since the run began included."""
    package = logging.getLogger('aesop')
    file.parent.mkdir(parents=True, exist_ok=True)
    written = logging.FileHandler(file)
    written.setFormatter(FORMAT)
    for early in [handler for handler in package.handlers if isinstance(handler, MemoryHandler)]:
        early.setTarget(written)
        early.flush()
        package.removeHandler(early)
    package.addHandler(written)


@contextmanager
def muted(name: str) -> Iterator[None]:
    """Drops the messages of one module."""
    module = logging.getLogger(name)
    module.disabled = True
    try:
        yield
    finally:
        module.disabled = False


class Scalars:
    """TensorBoard under `tb_logger/<name>`; `folder` None writes nothing."""

    def __init__(self, folder: Path | None, first_iter: int) -> None:
        self._writer = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            # What an interrupted run wrote after the state it goes on from is hidden, not shown twice.
            self._writer = SummaryWriter(str(folder), purge_step=first_iter)

    def add(self, values: dict[str, float], iteration: int, prefix: str) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f'{prefix}/{name}', value, iteration)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
