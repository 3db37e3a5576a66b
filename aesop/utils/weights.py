"""Fetches the published weights that `weights.yml` lists, and verifies them.

What was cut short goes on where it stopped. A file gets its name only when it is whole, has the published hash (where
one is known) and opens.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aesop.errors import UserError, at
from aesop.registry import did_you_mean
from aesop.utils import checkpoint
from aesop.utils.console import say
from aesop.utils.download import UNVERIFIED, fetch, sha256


def download(names: Sequence[str] = (), dry_run: bool = False) -> None:
    """Fetches the weights of these names, of all where none is given.

    Raises:
        UserError: those that are not there; the others are.
    """
    known = checkpoint.manifest()
    problems: list[str] = []
    for name in names or known:
        with at(name, problems):
            if name not in known:
                hint = did_you_mean(name, list(known)) or f' Known: {", ".join(known)}.'
                raise UserError(f'there are no weights of that name.{hint}')
            say(f'{name}: {obtain(known[name], dry_run)}')
    if problems:
        raise UserError(problems)


def obtain(entry: dict[str, Any], dry_run: bool) -> str:
    """Makes the file of an entry be there, unless `dry_run`; what happened, or would."""
    path = checkpoint.PRETRAINED / entry['file']
    if path.is_file():
        return f'{path} is there; {verify(path, entry)}'
    about = f'({entry["purpose"]}; {entry["licence"]}{f"; {UNVERIFIED}" if entry.get("unverified") else ""})'
    if 'url' not in entry:
        by_hand = f'manual: get {path.name} from {entry["page"]} and put it into {path.parent} {about}'
        if dry_run:
            return by_hand
        raise UserError(by_hand)
    if dry_run:
        return f'would fetch {entry["url"]} to {path} {about}'
    part = path.with_name(f'{path.name}.part')
    part.parent.mkdir(parents=True, exist_ok=True)
    fetch(entry['url'], part)
    try:
        proof = verify(part, entry)
        checkpoint.load(part)
    except UserError:
        part.unlink()  # going on from it would never make it right
        raise
    part.rename(path)
    return f'{path}, {path.stat().st_size / 1e6:.1f} MB; {proof} {about}'


def verify(path: Path, entry: dict[str, Any]) -> str:
    """The file's sha256 and whether it is the published one; UserError where it is another."""
    in_name = re.search(r'-([0-9a-f]{8})\.pth$', entry['file'])
    wanted = entry.get('sha256') or (in_name[1] if in_name else '')
    digest = sha256(path)
    if not digest.startswith(wanted):
        raise UserError(
            f'{path} has the sha256 {digest}, not {wanted}...: it is damaged, or another file. '
            'Remove it and fetch it again'
        )
    return f'sha256 {digest} ({"as published" if wanted else "none published to compare with"})'
