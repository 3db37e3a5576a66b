"""Puts the images of a folder into an LMDB of BasicSR's layout, for `io_backend: {type: lmdb}`.

A key is an image's path relative to the folder, without extension; the value is a PNG of the same pixels, in colour,
of 8 or 16 bits. OUT.lmdb/meta_info.txt lists the images. Interrupted work is resumed; until it is complete, the LMDB is
named OUT.lmdb.part.
"""

import errno
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import cv2

from aesop.data.datasets.meta_info import write_meta_info
from aesop.data.preparation.parallel import parallel, stamp
from aesop.errors import UserError
from aesop.utils.console import say
from aesop.utils.images import list_images, read_image
from aesop.utils.jsonl import Journal

LEVEL = 1  # of PNG compression: higher ones are slower and save little space
BATCH = 2**26  # bytes written in one transaction


class Job(NamedTuple):
    """An image and its key."""

    path: Path
    key: str


def create(folder: Path, out: Path, workers: int | None = None) -> None:
    """Writes the images below `folder` to the LMDB `out` in `workers` processes (None: one per core).

    Raises:
        UserError: the package lmdb is missing, `out` exists, or some images cannot be used; the others are written.
    """
    try:
        import lmdb
    except ImportError as error:
        raise UserError("this needs the package lmdb: pip install 'aesop-sr[lmdb]'") from error
    if out.suffix != '.lmdb':
        raise UserError(f'{out}: the name of an LMDB must end with .lmdb')
    if out.exists():
        raise UserError(f'{out} already exists; remove it, or choose another name')
    jobs = [Job(path, path.relative_to(folder).with_suffix('').as_posix()) for path in list_images(folder)]
    twice = [key for key, count in Counter(job.key for job in jobs).items() if count > 1]
    if twice:
        raise UserError([f'{folder}: several images are named {key}; rename all but one' for key in twice])
    part = out.with_name(f'{out.name}.part')
    journal = Journal(part / '.journal.jsonl')
    part.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(part).free < BATCH:  # LMDB maps its lock: on a full disk that would kill the process
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part))
    try:
        with lmdb.open(str(part), map_size=2 * BATCH) as environment:
            fill(environment, journal, jobs, workers)
    except lmdb.Error as error:
        raise UserError(f'{part}: {error}; run the command again when there is space, or remove that folder') from error
    shapes = [(f'{job.key}.png', journal.records[job.key]['shape']) for job in jobs]
    write_meta_info(part / 'meta_info.txt', shapes, LEVEL)
    journal.path.unlink()
    part.rename(out)
    say(f'{out}: {len(jobs)} images, {(out / "data.mdb").stat().st_size / 1e9:.3g} GB')


def fill(environment: Any, journal: Journal, jobs: list[Job], workers: int | None) -> None:  # noqa: ANN401
    longest = environment.max_key_size()
    problems = [
        f'{job.path}: the name is longer than the {longest} bytes of an LMDB key; shorten it'
        for job in jobs
        if len(os.fsencode(job.key)) > longest
    ]
    problems += [
        f'{job.path}: meta_info.txt cannot contain names with leading spaces or line breaks; rename it'
        for job in jobs
        if job.key.splitlines() != [job.key.lstrip()]
    ]
    if problems:
        raise UserError(problems)
    write(environment, [(key, None) for key in journal.records.keys() - {job.key for job in jobs}])
    batch: list[tuple[str, bytes, dict[str, Any]]] = []

    def put() -> None:
        write(environment, [(key, value) for key, value, _ in batch])
        for key, _, record in batch:  # after the transaction: the journal lists only what is in the LMDB
            journal.add(key, record)
        batch.clear()

    to_do = [job for job in jobs if not stamp(job.path).items() <= journal.records.get(job.key, {}).items()]
    for done in parallel(encode, to_do, problems, 'LMDB', workers=workers):
        batch.append(done)
        if sum(len(value) for _, value, _ in batch) > BATCH:
            put()
    put()
    if problems:
        raise UserError([*problems, 'the other images are done; repair or remove these, then run the command again'])


def write(environment: Any, values: list[tuple[str, bytes | None]]) -> None:  # noqa: ANN401
    """Sets or, with None, removes values in one transaction; enlarges the LMDB if it is full."""
    import lmdb

    while True:
        try:
            with environment.begin(write=True) as transaction:
                for key, value in values:
                    if value is None:
                        transaction.delete(os.fsencode(key))
                    else:
                        transaction.put(os.fsencode(key), value)
            return
        except lmdb.MapFullError:
            environment.set_mapsize(2 * environment.info()['map_size'])


def encode(job: Job) -> tuple[str, bytes, dict[str, Any]]:
    """Key and value of an image, and its record for the journal."""
    before, image = stamp(job.path), read_image(job.path)
    _, png = cv2.imencode('.png', cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, LEVEL])
    return job.key, png.tobytes(), {**before, 'shape': list(image.shape)}
