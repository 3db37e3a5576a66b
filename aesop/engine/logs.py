"""Console, log file, TensorBoard and Weights & Biases of a run."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

FORMAT = logging.Formatter('%(asctime)s %(levelname)s: %(message)s')


@contextmanager
def console(is_main: bool) -> Iterator[None]:
    """Shows the package's messages while a run lasts: all of the main rank's, the warnings of the others."""
    package = logging.getLogger('aesop')
    level = package.level
    package.setLevel(logging.INFO if is_main else logging.WARNING)
    shown = logging.StreamHandler(sys.stdout)
    shown.setFormatter(FORMAT)
    before = list(package.handlers)
    package.addHandler(shown)
    package.addHandler(MemoryHandler(capacity=10_000, flushLevel=logging.CRITICAL + 1))
    try:
        yield
    finally:
        package.setLevel(level)
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
    """A run's numbers: to TensorBoard in `folder` (None: not there), and to Weights & Biases.

    Args:
        first_iter: the first that will be added; what TensorBoard has from there on is hidden, not shown twice.
        wandb: arguments of `wandb.init`; None, or where the package is not installed: not there.
    """

    def __init__(self, folder: Path | None, first_iter: int, wandb: dict[str, Any] | None = None) -> None:
        self._writer = self._wandb = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=first_iter)
        if wandb is not None:
            try:
                from wandb import init
            except ImportError:
                logger.warning('logger.wandb: the package wandb is not installed, so nothing is logged there')
            else:
                self._wandb = init(**wandb)

    def add(self, values: dict[str, float], iteration: int, prefix: str) -> None:
        named = {f'{prefix}/{name}': value for name, value in values.items()}
        if self._writer is not None:
            for name, value in named.items():
                self._writer.add_scalar(name, value, iteration)
        if self._wandb is not None:
            self._wandb.log(named, step=iteration)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._wandb is not None:
            self._wandb.finish()
