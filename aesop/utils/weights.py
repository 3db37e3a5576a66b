"""Downloads the published weights listed in `weights.yml` and verifies them.

An interrupted download is resumed. A file gets its final name only when it is complete, has the published hash (if
one is known) and can be loaded.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aesop.errors import UserError, error_context
from aesop.registry import did_you_mean
from aesop.utils import checkpoint
from aesop.utils.console import say
from aesop.utils.download import UNVERIFIED, fetch, sha256


def download(names: Sequence[str] = (), dry_run: bool = False) -> None:
    """Downloads the weights of these names, or all of them.

    Raises:
        UserError: some could not be obtained; the others were.
    """
    known = checkpoint.manifest()
    problems: list[str] = []
    for name in names or known:
        with error_context(name, problems):
            if name not in known:
                hint = did_you_mean(name, list(known)) or f' Known: {", ".join(known)}.'
                raise UserError(f'there are no weights of that name.{hint}')
            say(f'{name}: {obtain(known[name], dry_run)}')
    if problems:
        raise UserError(problems)


def obtain(entry: dict[str, Any], dry_run: bool) -> str:
    """Downloads the file of an entry, unless it exists or `dry_run` is set; returns what happened, or would."""
    path = checkpoint.PRETRAINED / entry['file']
    if path.is_file():
        return f'{path} exists; {verify(path, entry)}'
    about = f'({entry["purpose"]}; {entry["licence"]}{f"; {UNVERIFIED}" if entry.get("unverified") else ""})'
    if 'url' not in entry:
        by_hand = f'manual: get {path.name} from {entry["page"]} and put it into {path.parent} {about}'
        if dry_run:
            return by_hand
        raise UserError(by_hand)
    if dry_run:
        return f'would download {entry["url"]} to {path} {about}'
    part = path.with_name(f'{path.name}.part')
    part.parent.mkdir(parents=True, exist_ok=True)
    fetch(entry['url'], part)
    try:
        proof = verify(part, entry)
        checkpoint.load(part)
    except UserError:
        part.unlink()  # resuming could not fix it
        raise
    part.rename(path)
    return f'{path}, {path.stat().st_size / 1e6:.1f} MB; {proof} {about}'


def verify(path: Path, entry: dict[str, Any]) -> str:
    """The file's sha256, and whether it is the published one; UserError if it differs."""
    in_name = re.search(r'-([0-9a-f]{8})\.pth$', entry['file'])
    wanted = entry.get('sha256') or (in_name[1] if in_name else '')
    digest = sha256(path)
    if not digest.startswith(wanted):
        raise UserError(
            f'{path} has the sha256 {digest}, not {wanted}...: it is damaged, or a different file. '
            'Remove it and download it again'
        )
    return f'sha256 {digest} ({"as published" if wanted else "no published hash to compare with"})'
