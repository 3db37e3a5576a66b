"""Image lists with one image per line, in the formats of BasicSR and Real-ESRGAN."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from aesop.errors import UserError
from aesop.utils.files import atomic
from aesop.utils.images import EXTENSIONS
from aesop.utils.recipes import recipe

_SHAPE = re.compile(r'\s+\(\d+,\s*\d+,\s*\d+\).*$')  # (height,width,channels) and, in an LMDB, the compression level


def read_meta_info(path: str | Path) -> list[tuple[str, ...]]:
    """The file names of each line: `name`, `name (h,w,c)`, `name (h,w,c) level`, or `gt name, lq name` of a pair.

    Anything after a space is ignored, unless the line ends with an image extension.

    Raises:
        UserError: the file is missing, not a text file or empty, or contains a path outside its folder.
    """
    try:
        lines = recipe(path).read_text(encoding='utf-8-sig').splitlines()  # a recipe's list comes with the package
    except FileNotFoundError:
        raise UserError(f'{path}: file not found; correct meta_info, or leave it out to use all images') from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'{path}: cannot be read as a list of images ({error}); write one name per line') from None
    names = [_names(_SHAPE.sub('', line).strip()) for line in lines if line.strip()]
    if not names:
        raise UserError(f'{path}: this file lists no images; write one path per line')
    if outside := [name for of_line in names for name in of_line if '..' in name.split('/')]:
        raise UserError(f'{path}: {outside[0]} is outside the folder; write paths without ..')
    return names


def write_meta_info(path: Path, images: Iterable[tuple[str, Sequence[int]]], level: int | None = None) -> None:
    """Writes BasicSR's list: lines `name (h,w,c)` and, in an LMDB, the `level` of the PNG compression."""
    end = '' if level is None else f' {level}'
    with atomic(path) as part:
        part.write_text(''.join(f'{name} ({",".join(map(str, shape))}){end}\n' for name, shape in images), 'utf-8')


def _names(line: str) -> tuple[str, ...]:
    for names in (line.split(', '), [line]):  # a comma may be part of a name
        if all(Path(name).suffix.lower() in EXTENSIONS for name in names):
            return tuple(map(str.strip, names))
    return (line.split()[0],)
