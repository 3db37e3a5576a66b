"""Turns published images into a folder for training or testing, with a record of how each file was made.

Files are written under a temporary name and recorded when complete, so the work can be killed and resumed at any time,
with the same result.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aesop.data.datasets.meta_info import write_meta_info
from aesop.data.preparation.parallel import parallel
from aesop.errors import UserError
from aesop.utils.download import sha256
from aesop.utils.files import atomic
from aesop.utils.images import decode_image, save_image
from aesop.utils.imresize import imresize
from aesop.utils.jsonl import Journal

Entry = dict[str, Any]  # of the manifest: file, size, sha256, shape [h, w, c], made, source, source_sha256
Work = Callable[[bytes, str, Path], tuple[int, ...]]  # (source's content, its name, where to write) -> image's shape


class Job(NamedTuple):
    """One file to make.

    Args:
        file: path relative to the folder of the data set.
        made: description of how it is made, for the record.
        work: function that makes it.
        source, data: name and content, or path, of its source.
    """

    file: str
    made: str
    work: Work
    source: str
    data: bytes | Path


class Folder:
    """The folder of a data set and the record of its files: `manifest.json`, or a journal until it is complete.

    Attributes:
        about: entries of the manifest about the data set as a whole; None until it is complete.
        entries: record of each file, by its name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._manifest, self._journal = path / 'manifest.json', Journal(path / '.journal.jsonl')
        self.about, self.entries = None, {}
        if self._manifest.exists():
            self.about = _read_manifest(self._manifest)
            self.entries = {entry['file']: entry for entry in self.about.pop('files')}
        self.entries |= self._journal.records
        if any(Path(file).is_absolute() or '..' in Path(file).parts for file in self.entries):
            raise UserError(
                f'{path}: its manifest lists files outside this folder; remove it and run the command again'
            )

    def make(self, jobs: Iterable[Job], problems: list[str], title: str, workers: int | None, total: int) -> set[str]:
        """Makes the files of the jobs that are missing; returns all that exist. Other arguments: see `parallel`."""
        given = ((self.path, job, self.entries.get(job.file)) for job in jobs)
        done = set()
        for entry in parallel(_make, given, problems, title, total, workers):
            if self.entries.get(entry['file']) != entry:
                self._journal.add(entry['file'], entry)
                self.entries[entry['file']] = entry
            done.add(entry['file'])
        return done

    def damaged(self, files: list[str], workers: int | None) -> list[str]:
        """The files that have changed since they were made, or are missing."""
        given = [(self.path, self.entries[file]) for file in files]
        checked = parallel(_is_intact, given, [], f'{self.path.name}: comparing', workers=workers)
        return [file for file, intact in zip(files, checked, strict=True) if not intact]

    def finish(self, about: dict[str, Any], wanted: set[str]) -> None:
        """Writes the manifest, and BasicSR's list of the ground truths, `meta_info.txt`.

        Files that are not `wanted` are removed: their images are no longer part of the data set.
        """
        for file in self.entries.keys() - wanted:
            (self.path / file).unlink(missing_ok=True)
            del self.entries[file]
        files = [self.entries[file] for file in sorted(wanted)]
        gts = [(name.partition('/')[2], self.entries[name]['shape']) for name in sorted(wanted) if name[:2] != 'LR']
        if gts:
            write_meta_info(self.path / 'meta_info.txt', gts)
        with atomic(self._manifest) as part:
            part.write_text(json.dumps({**about, 'files': files}, indent=1) + '\n')
        self._journal.path.unlink(missing_ok=True)
        self.about = about


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
        return {**manifest, 'files': list(manifest['files'])}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path}: this manifest is damaged; remove it to have the images compared again') from error


def _make(given: tuple[Path, Job, Entry | None]) -> Entry:
    folder, job, known = given
    data = job.data if isinstance(job.data, bytes) else job.data.read_bytes()
    path, digest = folder / job.file, hashlib.sha256(data).hexdigest()
    wanted = {'file': job.file, 'made': job.made, 'source': job.source, 'source_sha256': digest}
    if known and wanted.items() <= known.items() and _is_intact((folder, known)):
        return known
    with atomic(path, durable=False, suffixed=True) as part:
        shape = job.work(data, job.source, part)
        entry = {**wanted, 'size': part.stat().st_size, 'sha256': sha256(part), 'shape': list(shape)}
        if not known and path.exists() and not _is_intact((folder, entry)):
            raise UserError(f'{path} differs from {job.source} and was not made by this command; move it elsewhere')
    return entry


def _is_intact(given: tuple[Path, Entry]) -> bool:
    folder, entry = given
    path = folder / entry['file']
    return path.is_file() and path.stat().st_size == entry['size'] and sha256(path) == entry['sha256']


# Functions for `Job.work`; a further first argument is bound by `functools.partial`.


def copy(data: bytes, name: str, path: Path) -> tuple[int, ...]:
    """Copies the file if it is a readable image."""
    shape = decode_image(data, name).shape
    path.write_bytes(data)
    return shape


def link(source: Path, data: bytes, name: str, path: Path) -> tuple[int, ...]:
    """Hard link to the file, or a copy where links are not possible."""
    shape = decode_image(data, name).shape
    try:
        os.link(source, path)
    except OSError:  # not supported by every file system
        path.write_bytes(data)
    return shape


def crop(multiple: int, data: bytes, name: str, path: Path) -> tuple[int, ...]:
    """Crops the bottom and right so that the sides become multiples."""
    image = _cropped(decode_image(data, name), multiple, name)
    save_image(path, image)
    return image.shape


def shrink(scale: int, data: bytes, name: str, path: Path) -> tuple[int, ...]:
    """Makes the low-resolution image: MATLAB's bicubic, after cropping to multiples of `scale`."""
    return resize(Fraction(1, scale), _cropped(decode_image(data, name), scale, name), name, path)


def resize(factor: Fraction, data: bytes | np.ndarray, name: str, path: Path) -> tuple[int, ...]:
    """Resizes the image by the same bicubic."""
    image = imresize(data if isinstance(data, np.ndarray) else decode_image(data, name), float(factor))
    save_image(path, image)
    return image.shape


def _cropped(image: np.ndarray, multiple: int, name: str) -> np.ndarray:
    height, width = image.shape[:2]
    if min(height, width) < multiple:
        raise UserError(f'{name}: {height}x{width} pixels (height x width) is smaller than {multiple}; remove it')
    return image[: height // multiple * multiple, : width // multiple * multiple]
