"""Files that are there whole or not at all, and locks, on any system."""

import errno
import hashlib
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from aesop.errors import UserError

LONGEST = 255  # bytes of a file name, on common file systems


@contextmanager
def atomic(path: str | Path, durable: bool = True, suffixed: bool = False) -> Iterator[Path]:
    """A path beside `path` to write to; at the end of the block that file takes the place of `path`.

    At any instant `path` is the old file or the new one, whole. What a kill leaves is hidden, and written over by the
    next attempt.

    Args:
        durable: survive a power cut too (fsync); without it many small files are written faster.
        suffixed: the path aside ends with the suffix of `path`, for writers that look at it.

    Raises:
        OSError: it cannot be written; what was there before stays. `filename` is set.
    """
    path = Path(path)
    aside = _aside(path, path.suffix if suffixed else '')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        if durable:
            with open(aside, 'r+b') as file:
                os.fsync(file.fileno())
        os.replace(aside, path)
        if durable and os.name != 'nt':  # Windows does not open folders
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # without it a power cut may undo the renaming
            finally:
                os.close(folder)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UserError(f'{path}: this name is too long for the file system; shorten that of the source') from error
        error.filename = error.filename or str(path)  # a failed write does not know its file
        raise
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def _aside(path: Path, suffix: str) -> Path:
    name = f'.{path.name}.tmp{suffix}'
    if len(os.fsencode(name)) > LONGEST:
        name = f'.{hashlib.sha1(os.fsencode(path.name)).hexdigest()}.tmp{suffix}'
    return path.with_name(name)


def write_text(path: str | Path, text: str) -> Path:
    """Writes a text in UTF-8 as `atomic` does; returns the path."""
    with atomic(path) as aside:
        aside.write_text(text, encoding='utf-8', newline='')
    return Path(path)


def lock(path: Path, busy: str) -> IO[str]:
    """Takes the file at `path`, which is made if missing, for this process until it ends, however it ends.

    Child processes do not hold the lock, so those that outlive a killed parent for a moment do not keep it. Where the
    system has no file locks, nothing is locked.

    Returns:
        An open file, also a context manager; closing it gives the lock back.

    Raises:
        UserError: with the sentence `busy`, if another process has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = open(path, 'a+')  # noqa: SIM115  (the lock lives as long as the file object)
    try:
        _lock(handle)
    except OSError as error:
        handle.close()
        raise UserError(busy) from error
    if hasattr(os, 'register_at_fork'):
        held = weakref.ref(handle)
        os.register_at_fork(after_in_child=lambda: held() and held().close())
    return handle


def _lock(handle: IO[str]) -> None:
    with suppress(ImportError):
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    with suppress(ImportError):
        import msvcrt

        handle.seek(0)
        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
