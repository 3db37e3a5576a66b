"""Images in a folder, a zip or a tar. An archive is looked at as a whole before anything of it is used."""

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

LARGEST = 2**30  # bytes of one file
_RATIO = 20  # unpacked bytes for one packed byte that are believable: images hardly shrink
_LISTED = 10  # members named before "and N more"
# The last also for a password that is needed, and for a compression that Python does not have
_ERRORS = (zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, EOFError, OSError, RuntimeError)


class Member(NamedTuple):
    """A file, or what else an archive holds."""

    name: str  # relative, with forward slashes
    read: Callable[[], bytes]
    size: int = 0  # bytes that an archive announces
    kind: Literal['file', 'folder', 'other'] = 'file'


@contextmanager
def open_images(path: Path) -> Iterator[list[Member]]:
    """The images of a folder, a zip or a (compressed) tar; those of an archive are read fastest in this order.

    Hidden files and those of other kinds are left out.

    Raises:
        UserError: there is nothing at `path` or no image in it, or it is no archive or a damaged one. An archive is
            refused if any of its members has an absolute name or one with `..`, is a link or a device, or is absurdly
            large. `read` raises where it turns out to be damaged later.
    """
    if path.is_dir():  # the user's own: links in it are followed
        yield [Member(file.relative_to(path).as_posix(), partial(_from_folder, file)) for file in list_images(path)]
        return
    if not path.exists():
        raise UserError(f'{path}: folder or archive not found; correct the path')
    with _told(str(path)):
        archive = zipfile.ZipFile(path) if zipfile.is_zipfile(path) else tarfile.open(path)  # noqa: SIM115
    with archive:
        with _told(str(path)):
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
        raise UserError(f'{file}: this cannot be read ({error.strerror}); restore it or take it out') from error


def _in_zip(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        mode = stat.S_IFMT(info.external_attr >> 16)
        kind = 'folder' if info.is_dir() else 'file' if mode in (0, stat.S_IFREG) else 'other'
        yield Member(info.filename.replace('\\', '/'), partial(_from_zip, archive, info), info.file_size, kind)


def _from_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        return file.read(info.file_size)  # no more than was announced


def _in_tar(archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        kind = 'folder' if info.isdir() else 'file' if info.isreg() else 'other'
        yield Member(info.name, partial(_from_tar, archive, info), info.size, kind)


def _from_tar(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(info)
    return file.read() if file else b''


def _read(place: str, read: Callable[[], bytes]) -> bytes:
    with _told(place):
        return read()


@contextmanager
def _told(place: str) -> Iterator[None]:
    try:
        yield
    except _ERRORS as error:
        what = (str(error) or type(error).__name__).partition(':\n')[0]  # tarfile then tells of each compression
        raise UserError(
            f'{place}: this is no zip or tar that can be read, or it is damaged ({what}); remove it and get it again, '
            'or unpack it yourself and give the folder'
        ) from error


def _safe(path: Path, found: Iterable[Member]) -> list[Member]:
    """All members, or a refusal. Looked at one by one: a tar has to be unpacked to find the next."""
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
        problems.append(f'its {packed / 1e9:.3g} GB would become {total / 1e9:.3g} GB or more')
    if problems:
        raise UserError(
            f'{path}: this archive is refused and nothing of it was used: {"; ".join(problems)}. No set of images '
            'comes like that: get it from its publisher, or unpack it yourself and give the folder'
        )
    return members


def _unsafe(member: Member) -> str | None:
    if member.kind == 'other':
        return 'is a link or a device'
    if member.name.startswith('/') or re.match('[A-Za-z]:', member.name):
        return 'has an absolute name'
    if '..' in member.name.split('/'):
        return 'leads out of the folder'
    if member.size > LARGEST:
        return f'is of {member.size / 1e9:.3g} GB'
    if any(category(character) in ('Cc', 'Cs') for character in member.name):  # Cs: bytes that are no UTF-8
        return 'has a name that is no UTF-8, or has control characters'
    return None


def _is_image(name: PurePosixPath) -> bool:
    hidden = any(part.startswith(('.', '__MACOSX')) for part in name.parts if part != '.')
    return name.suffix.lower() in EXTENSIONS and not hidden
