"""Console, log file, TensorBoard and Weights & Biases of a run."""

import io
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any

from aesop.options import Options
from aesop.utils import distributed

logger = logging.getLogger(__name__)

FORMAT = logging.Formatter('%(asctime)s %(levelname)s: %(message)s')


@contextmanager
def console(is_main: bool) -> Iterator[None]:
    """Shows the package's messages during a run: all of the main rank, warnings of the others."""
    package = logging.getLogger('aesop')
    level = package.level
    package.setLevel(logging.INFO if is_main else logging.WARNING)
    if isinstance(sys.stdout, io.TextIOWrapper):  # under a locale without UTF-8 an accent is shown as \xe9
        sys.stdout.reconfigure(errors='backslashreplace')
    shown = logging.StreamHandler(sys.stdout)
    shown.setFormatter(FORMAT)
    before = list(package.handlers)
    package.addHandler(shown)
    package.addHandler(MemoryHandler(capacity=10_000, flushLevel=logging.CRITICAL + 1))
    raised_in_thread, threading.excepthook = threading.excepthook, _told_in_a_sentence
    try:
        yield
    finally:
        threading.excepthook = raised_in_thread
        package.setLevel(level)
        for handler in [handler for handler in package.handlers if handler not in before]:
            package.removeHandler(handler)
            handler.close()


def _told_in_a_sentence(raised: Any) -> None:
    """Suppresses tracebacks of disk errors in TensorBoard's thread: `Scalars` logs what is lost."""
    if not isinstance(raised.exc_value, OSError):
        threading.__excepthook__(raised)


@contextmanager
def own_log() -> Iterator[None]:
    """Closes on exit the log files that `also_to` opened inside, for several runs in one process."""
    package = logging.getLogger('aesop')
    before = list(package.handlers)
    early = [handler for handler in before if isinstance(handler, MemoryHandler)]
    try:
        yield
    finally:
        for handler in [handler for handler in package.handlers if handler not in before]:
            package.removeHandler(handler)
            handler.close()
        if early and early[0] not in package.handlers:
            package.addHandler(MemoryHandler(capacity=10_000, flushLevel=logging.CRITICAL + 1))


def also_to(file: Path) -> None:
    """Also writes messages to `file`, including those since the start of the run."""
    package = logging.getLogger('aesop')
    file.parent.mkdir(parents=True, exist_ok=True)
    written = LogFile(file, encoding='utf-8', errors='backslashreplace')
    written.setFormatter(FORMAT)
    for early in [handler for handler in package.handlers if isinstance(handler, MemoryHandler)]:
        early.setTarget(written)
        early.flush()
        package.removeHandler(early)
    package.addHandler(written)


class LogFile(logging.FileHandler):
    """A log file that tolerates a full disk: unwritten lines are kept in memory and written later."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with suppress(OSError):
            super().close()


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
    """Logs scalars to TensorBoard in `folder` (None: off) and to Weights & Biases.

    Args:
        first_iter: the first iteration to be logged; TensorBoard purges existing values from there on.
        wandb: arguments of `wandb.init`; off if None or if the package is not installed.
    """

    def __init__(self, folder: Path | None, first_iter: int, wandb: dict[str, Any] | None = None) -> None:
        self._folder, self._writer, self._wandb = folder, None, None
        self._add_to_tensorboard({}, first_iter)
        if wandb is not None:
            try:
                from wandb import init  # pyright: ignore[reportMissingImports]  (an extra)
            except ImportError:
                logger.warning('logger.wandb has no effect: the package wandb is not installed')
            else:
                self._wandb = init(**wandb)

    def add(self, values: dict[str, float], iteration: int, prefix: str) -> None:
        named = {f'{prefix}/{name}': value for name, value in values.items()}
        self._add_to_tensorboard(named, iteration)
        if self._wandb is not None:
            self._wandb.log(named, step=iteration)

    def _add_to_tensorboard(self, named: dict[str, float], iteration: int) -> None:
        """Values that cannot be written (full disk) are lost; a new file is started with the next ones."""
        if self._folder is None:
            return
        try:
            if self._writer is None:
                from torch.utils.tensorboard import SummaryWriter

                self._writer = SummaryWriter(str(self._folder), purge_step=iteration)
            for name, value in named.items():
                self._writer.add_scalar(name, value, iteration)
        except OSError as error:
            logger.error('TensorBoard, %s: values of iteration %d could not be written (%s)',
                         self._folder, iteration, error)  # fmt: skip
            self._writer = None

    def close(self) -> None:
        with suppress(OSError):
            if self._writer is not None:
                self._writer.close()
        if self._wandb is not None:
            self._wandb.finish()


def open_scalars(options: Options, first_iter: int) -> Scalars:
    """The scalar loggers set in the options; only the main rank writes."""
    if not distributed.is_main():
        return Scalars(None, first_iter)
    wandb = options.logger.wandb
    about = None
    if wandb is not None and wandb.project is not None:
        about = {'name': options.name, 'config': options.to_dict()}
        about |= {'project': wandb.project, 'id': wandb.resume_id, 'resume': 'allow'}
    return Scalars(Path('tb_logger') / options.name if options.logger.use_tb_logger else None, first_iter, about)


def announce(options: Options, model: Any, dataset: Any, batch_size: int) -> None:
    """Logs what is about to be trained. `batch_size`: samples per iteration over all ranks."""
    nets = {name: net for name, net in model._nets.items() if name != 'net_g_ema'}
    sizes = {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()}
    ranks, total = distributed.world_size(), options.training.total_iter
    logger.info(
        '%s: %s on %s, %d rank(s); %s',
        options.name, options.model_type, model.device, ranks,
        ', '.join(f'{name} {size:,} parameters' for name, size in sizes.items()),
    )  # fmt: skip
    logger.info(
        '%s: %d images; %d iterations of %d samples are %.1f epochs',
        dataset.name, len(dataset), total, batch_size, total * batch_size / len(dataset),
    )  # fmt: skip
    if options.num_gpu not in ('auto', 0, 1, ranks):
        logger.warning(
            'num_gpu is %d but there are %d ranks: torchrun --nproc_per_node sets the number', options.num_gpu, ranks
        )
