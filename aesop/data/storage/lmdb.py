"""Images in an LMDB of BasicSR's layout: a folder `X.lmdb` with data.mdb, lock.mdb and meta_info.txt.

A line of meta_info.txt is `name.png (h,w,c) level`; the key is the name without its extension, the value the PNG file.
The path of an image is `X.lmdb/name.png`, as if the LMDB were a folder.
"""

import os
from pathlib import Path
from threading import Lock
from typing import Any

from aesop.data.datasets.meta_info import read_meta_info
from aesop.errors import UserError

_REMEDY = 'recreate it with `aesop lmdb`'
_opened: dict[Path, tuple[int, Any]] = {}  # process and environment: LMDB allows one environment per file and process
_lock = Lock()


def list_images(root: str | Path) -> list[Path]:
    """The images that meta_info.txt names, in its order.

    Raises:
        UserError: this is not an LMDB of images.
    """
    root = Path(root)
    if root.suffix != '.lmdb':
        raise UserError(
            f'{root}: with `io_backend: {{type: lmdb}}` the folder must be named X.lmdb; correct path or type'
        )
    missing = [name for name in ('data.mdb', 'meta_info.txt') if not (root / name).is_file()]
    if missing:
        raise UserError(f'{root}: {" and ".join(missing)} not found there; correct the path, or {_REMEDY}')
    return [root / names[0].lstrip('/') for names in read_meta_info(root / 'meta_info.txt')]


def read_bytes(path: Path) -> bytes:
    """The encoded image.

    Raises:
        UserError: the image is not in the LMDB, the LMDB is damaged, or the package `lmdb` is missing.
    """
    lmdb, root = _package(), root_of(path)
    try:
        with _lock:
            environment = _environment(root)
        with environment.begin() as transaction:
            value = transaction.get(os.fsencode(path.relative_to(root).with_suffix('').as_posix()))
    except lmdb.Error as error:
        raise UserError(f'{path}: the LMDB is damaged ({error}); {_REMEDY}') from None
    if value is None:
        raise UserError(f'{path}: the LMDB lists this image but does not contain it; {_REMEDY}')
    return value


def root_of(path: Path) -> Path:
    """The LMDB that contains an image."""
    return next(parent for parent in path.parents if parent.suffix == '.lmdb')


def close() -> None:
    """Closes the LMDBs of this process, so that their files can be replaced."""
    while _opened:
        _opened.popitem()[1][1].close()


def _environment(root: Path) -> Any:  # noqa: ANN401
    """The LMDB, opened once in each process: a forked process must not use that of its parent."""
    process, environment = _opened.get(root, (None, None))
    if process == os.getpid():
        return environment
    if environment is not None:
        environment.close()
    environment = _package().open(str(root), readonly=True, lock=False, readahead=False, meminit=False)
    needed = (environment.info()['last_pgno'] + 1) * environment.stat()['psize']
    if (root / 'data.mdb').stat().st_size < needed:  # reading beyond the end would kill the process
        environment.close()
        raise UserError(f'{root}: data.mdb is truncated; {_REMEDY}')
    _opened[root] = os.getpid(), environment
    return environment


def _package() -> Any:  # noqa: ANN401
    try:
        import lmdb
    except ImportError:
        raise UserError("io_backend lmdb: the package lmdb is not installed; pip install 'aesop-sr[lmdb]'") from None
    return lmdb
