"""Atomic writes and file locks, on any operating system."""

import errno
import hashlib
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from aesop.errors import UserError

MAX_NAME_BYTES = 255  # bytes of a file name, on common file systems


@contextmanager
def atomic(path: str | Path, durable: bool = True, suffixed: bool = False) -> Iterator[Path]:
    """A temporary path next to `path` to write to; at the end of the block it replaces `path`.

    At any instant `path` is either the old or the new file, complete. A killed process leaves a hidden file, which the
    next attempt overwrites.

    Args:
        durable: survive a power cut too (fsync); without it, many small files are written faster.
        suffixed: the temporary path keeps the suffix of `path`, for writers that depend on it.

    Raises:
        OSError: the file cannot be written; the old file is kept. `filename` is set.
    """
    path = Path(path)
    aside = _temporary(path, path.suffix if suffixed else '')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        if durable:
            with open(aside, 'r+b') as file:
                os.fsync(file.fileno())
        os.replace(aside, path)
        if durable and os.name != 'nt':  # Windows cannot open folders
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # otherwise a power cut may undo the rename
            finally:
                os.close(folder)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UserError(
                f'{path}: this name is too long for the file system; shorten the name of the source'
            ) from error
        error.filename = error.filename or str(path)  # not set by a failed write
        raise
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def _temporary(path: Path, suffix: str) -> Path:
    name = f'.{path.name}.tmp{suffix}'
    if len(os.fsencode(name)) > MAX_NAME_BYTES:
        name = f'.{hashlib.sha1(os.fsencode(path.name)).hexdigest()}.tmp{suffix}'
    return path.with_name(name)


def write_text(path: str | Path, text: str) -> Path:
    """Writes text as UTF-8, atomically; returns the path."""
    with atomic(path) as aside:
        aside.write_text(text, encoding='utf-8', newline='')
    return Path(path)


def lock(path: Path, busy: str) -> IO[str]:
    """Locks the file at `path`, created if missing, until this process ends, however it ends.

    Child processes do not inherit the lock, so those that briefly outlive a killed parent do not keep it. If the
    system has no file locks, nothing is locked.

    Returns:
        An open file, also a context manager; closing it releases the lock.

    Raises:
        UserError: with the message `busy`, if another process holds the lock.
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
        os.register_at_fork(after_in_child=lambda: (file := held()) and file.close())
    return handle


def _lock(handle: IO[str]) -> None:
    with suppress(ImportError):
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    with suppress(ImportError):
        import msvcrt

        handle.seek(0)
        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]  (of Windows)
