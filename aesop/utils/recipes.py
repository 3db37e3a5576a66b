"""The option files shipped with the package."""

import os
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# In an installed package, and in a checkout of the repository.
FOLDERS = (PACKAGE / 'recipes', PACKAGE.parent / 'options')


def recipe(name: str | os.PathLike[str]) -> Path:
    """The option file at that path or, if there is none, the packaged recipe of that name.

    `options/train_ae_rrdb.yml`, `train_ae_rrdb.yml` and `train_ae_rrdb` name the same recipe. Any other name is
    returned unchanged; reading it then reports the missing file.
    """
    path = Path(name)
    if path.exists() or path.is_absolute() or '..' in path.parts:
        return path
    relative = Path(*path.parts[1:]) if path.parts[:1] == ('options',) else path
    for folder in FOLDERS:
        for candidate in (folder / relative, folder / f'{relative}.yml'):
            if relative.parts and candidate.is_file():
                return candidate
    return path
