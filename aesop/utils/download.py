"""Files from the network: a download that goes on where it stopped, and proof of what came."""

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
_AGAIN = 'The same command goes on where it stopped'


def fetch(url: str, path: Path) -> None:
    """Downloads to `path`, going on from what an earlier try left there; the file has the announced size then.

    Raises:
        UserError: it cannot be had, or was cut; what came so far is kept.
    """
    have = path.stat().st_size if path.exists() else 0
    request = Request(url, headers={'Range': f'bytes={have}-'} if have else {})
    try:
        with urlopen(request, timeout=TIMEOUT) as answer:
            if answer.status != 206:  # the server sends the file from its beginning
                have = 0
            elif not (answer.headers['Content-Range'] or '').startswith(f'bytes {have}-'):
                raise HTTPException(f'asked for what follows after {have} bytes, the server sends something else')
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
            raise UserError(f'{url} cannot be fetched: {error}') from error
        if error.headers['Content-Range'] not in (None, f'bytes */{have}'):
            raise UserError(f'{path} is longer than {url} is now; remove it and start again') from error
        return  # there is nothing after what is here already
    except (OSError, HTTPException) as error:
        raise UserError(f'{url} cannot be fetched: {error}. {_AGAIN}') from error
    if total is not None and path.stat().st_size < total:
        raise UserError(f'{url} was cut after {path.stat().st_size} of {total} bytes. {_AGAIN}')


def sha256(path: str | os.PathLike[str]) -> str:
    """The hash of a file, in hexadecimal digits."""
    with open(path, 'rb') as file:
        digest = hashlib.sha256()
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
