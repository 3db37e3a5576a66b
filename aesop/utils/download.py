"""Resumable downloads and file hashes."""

import hashlib
import os
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tqdm import tqdm

from aesop.errors import UserError

TIMEOUT = 60  # seconds without a byte
UNVERIFIED = 'unverified: not fetched through this project yet'
_BLOCK = 2**20
_AGAIN = 'Run the same command again to resume'


def fetch(url: str, path: Path) -> None:
    """Downloads to `path`, resuming an earlier attempt, and checks the size against the announced one.

    Raises:
        UserError: the download failed or was interrupted; what has arrived is kept.
    """
    have = path.stat().st_size if path.exists() else 0
    request = Request(url, headers={'Range': f'bytes={have}-'} if have else {})
    try:
        with urlopen(request, timeout=TIMEOUT) as answer:
            if answer.status != 206:  # the server sends the file from its beginning
                have = 0
            elif not (answer.headers['Content-Range'] or '').startswith(f'bytes {have}-'):
                raise HTTPException(f'asked for the bytes from {have} on, but the server sent something else')
            length = answer.headers['Content-Length']
            total = have + int(length) if length else None
            with (
                open(path, 'ab' if have else 'wb') as file,
                tqdm(desc=path.stem, total=total, initial=have, unit='B', unit_scale=True, disable=None) as bar,
            ):
                while block := answer.read(_BLOCK):
                    bar.update(file.write(block))
    except HTTPError as error:
        if error.code != 416 or not have:
            raise UserError(f'{url} could not be downloaded: {error}') from error
        if error.headers['Content-Range'] not in (None, f'bytes */{have}'):
            raise UserError(f'{path} is larger than {url} is now; remove it and start over') from error
        return  # the file is complete already
    except (OSError, HTTPException) as error:
        raise UserError(f'{url} could not be downloaded: {error}. {_AGAIN}') from error
    if total is not None and path.stat().st_size < total:
        raise UserError(f'{url} was interrupted after {path.stat().st_size} of {total} bytes. {_AGAIN}')


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 hash of a file, as hexadecimal digits."""
    with open(path, 'rb') as file:
        digest = hashlib.sha256()
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
