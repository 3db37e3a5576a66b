"""Records the finished batches of an evaluation, one small file each, so that it can be resumed."""

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import IO, Any

from aesop.errors import UserError
from aesop.run.experiment import lock, move_aside
from aesop.utils import checkpoint, distributed
from aesop.utils.files import write_text

logger = logging.getLogger(__name__)

Record = dict[str, Any]  # the results of an image, see `aesop.evaluation.evaluate`
FOLDER = '.journal'


def forget(root: Path) -> None:
    """Removes the journal under `root`, if there is one."""
    shutil.rmtree(root / FOLDER, ignore_errors=True)


def fingerprint(*parts: Any) -> str:
    """A hash of everything that the results of an evaluation depend on, given as plain data."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


class FinishedBatches:
    """Context manager that stores the records of finished batches in a hidden folder, which is deleted on success.

    With `resume`, existing records of the same evaluation are kept; otherwise existing results are moved aside.

    Args:
        root: the results folder.
        of: fingerprint of the evaluation.
        resume: whether to reuse finished batches.

    Raises:
        UserError: another process is writing to the folder.
    """

    def __init__(self, root: Path, of: str, resume: bool) -> None:
        self._root, self._folder, self._of, self._resume = root, root / FOLDER, of, resume
        self._lock: IO[str] | None = None

    def __enter__(self) -> 'FinishedBatches':
        distributed.on_main(self._open)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is None:
            distributed.barrier()
            if distributed.is_main():
                forget(self._root)
        if self._lock:
            self._lock.close()

    def _open(self) -> None:
        if self._folder.exists():
            self._lock = lock(self._folder)
        of = self._folder / 'of'
        if self._resume and of.is_file() and of.read_text() == self._of:
            count = len(list(self._folder.glob('*/*.pth')))
            logger.info('resuming in %s, where %d batches are finished', self._root, count)
            return
        if self._root.exists():
            aside = move_aside(self._root)
            why = ': they are of other weights, images or options' if self._resume else ''
            logger.info('the earlier results are now in %s%s', aside, why)
        self._lock = lock(self._folder)
        write_text(of, self._of)

    def read(self, dataset: str, batch: int) -> list[Record] | None:
        """The records of the batch that starts at image `batch`, or None if it is not finished."""
        path = self._path(dataset, batch)
        if not path.is_file():
            return None
        try:
            return checkpoint.load(path)
        except UserError as error:
            logger.warning('%s; the batch is evaluated again', error)
            return None

    def write(self, dataset: str, batch: int, records: list[Record]) -> None:
        checkpoint.save(records, self._path(dataset, batch))

    def _path(self, dataset: str, batch: int) -> Path:
        return self._folder / dataset / f'{batch}.pth'
