"""Images in a folder, a zip or a tar. All members of an archive are checked before any of them is read."""

import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple
from unicodedata import category

from aesop.errors import UserError
from aesop.utils.images import EXTENSIONS, list_images

LARGEST = 2**30  # bytes per file
_RATIO = 20  # plausible compression ratio: images hardly compress
_LISTED = 10  # members listed before "and N more"
# RuntimeError: encrypted files and unsupported compression
_ERRORS = (zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, EOFError, OSError, RuntimeError)


class Member(NamedTuple):
    """A member of a folder or archive."""

    name: str  # relative, with forward slashes
    read: Callable[[], bytes]
    size: int = 0  # bytes, according to the archive
    kind: Literal['file', 'folder', 'other'] = 'file'


@contextmanager
def open_images(path: Path) -> Iterator[list[Member]]:
    """The images of a folder, a zip or a (compressed) tar; archives are read fastest in this order.

    Hidden files and files of other types are skipped.

    Raises:
        UserError: `path` does not exist, contains no images, or is not a valid archive. An archive is rejected if any
            member has an absolute path or one with `..`, is a link or a device, or is implausibly large. `read` raises
            it for damaged members.
    """
    if path.is_dir():  # trusted: links are followed
        yield [Member(file.relative_to(path).as_posix(), partial(_from_folder, file)) for file in list_images(path)]
        return
    if not path.exists():
        raise UserError(f'{path}: folder or archive not found; correct the path')
    with _readable_errors(str(path)):
        archive = zipfile.ZipFile(path) if zipfile.is_zipfile(path) else tarfile.open(path)  # noqa: SIM115
    with archive:
        with _readable_errors(str(path)):
            members = _safe(path, _in_zip(archive) if isinstance(archive, zipfile.ZipFile) else _in_tar(archive))
        images = [
            member._replace(read=partial(_read, f'{path}: {member.name}', member.read))
            for member in members
            if member.kind == 'file' and _is_image(PurePosixPath(member.name))
        ]
        if not images:
            raise UserError(f'{path}: this archive contains no images; is it the right one?')
        yield images


def _from_folder(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f'{file}: cannot be read ({error.strerror}); restore or remove it') from error


def _in_zip(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        mode = stat.S_IFMT(info.external_attr >> 16)
        kind = 'folder' if info.is_dir() else 'file' if mode in (0, stat.S_IFREG) else 'other'
        yield Member(info.filename.replace('\\', '/'), partial(_from_zip, archive, info), info.file_size, kind)


def _from_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        return file.read(info.file_size)  # no more than the archive states


def _in_tar(archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        kind = 'folder' if info.isdir() else 'file' if info.isreg() else 'other'
        yield Member(info.name, partial(_from_tar, archive, info), info.size, kind)


def _from_tar(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(info)
    return file.read() if file else b''


def _read(place: str, read: Callable[[], bytes]) -> bytes:
    with _readable_errors(place):
        return read()


@contextmanager
def _readable_errors(place: str) -> Iterator[None]:
    try:
        yield
    except _ERRORS as error:
        what = (str(error) or type(error).__name__).partition(':\n')[0]  # tarfile adds a line for each compression
        raise UserError(
            f'{place}: not a readable zip or tar archive, or damaged ({what}); remove it and download it again, or '
            'unpack it yourself and pass the folder'
        ) from error


def _safe(path: Path, found: Iterable[Member]) -> list[Member]:
    """All members, or UserError. Checked one by one: finding the next member of a tar means unpacking this one."""
    packed = path.stat().st_size
    members, total = [], 0
    for member in found:
        members.append(member)
        total += member.size
        if total > LARGEST + _RATIO * packed:
            break
    problems = [f'{member.name!a} {why}' for member in members if (why := _unsafe(member))]
    if len(problems) > _LISTED:
        problems[_LISTED:] = [f'and {len(problems) - _LISTED} more']
    if total > LARGEST + _RATIO * packed:
        problems.append(f'its {packed / 1e9:.3g} GB would unpack to {total / 1e9:.3g} GB or more')
    if problems:
        raise UserError(
            f'{path}: this archive is rejected and nothing of it was used: {"; ".join(problems)}. Download it from its '
            'publisher, or unpack it yourself and pass the folder'
        )
    return members


def _unsafe(member: Member) -> str | None:
    if member.kind == 'other':
        return 'is a link or a device'
    if member.name.startswith('/') or re.match('[A-Za-z]:', member.name):
        return 'has an absolute path'
    if '..' in member.name.split('/'):
        return 'points outside the folder'
    if member.size > LARGEST:
        return f'has {member.size / 1e9:.3g} GB'
    if any(category(character) in ('Cc', 'Cs') for character in member.name):  # Cs: bytes that are not UTF-8
        return 'has a name that is not UTF-8 or contains control characters'
    return None


def _is_image(name: PurePosixPath) -> bool:
    hidden = any(part.startswith(('.', '__MACOSX')) for part in name.parts if part != '.')
    return name.suffix.lower() in EXTENSIONS and not hidden
