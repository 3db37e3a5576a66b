"""Cuts images into overlapping squares, which are faster to read than whole images if there is no decode cache.

The squares of 0001.png are 0001_s001.png, 0001_s002.png, ... row by row, with unchanged pixels. If more than
`thresh-size` pixels are left at the right or bottom, another square is cut flush with that border. For LR images at
1/4: --crop-size 120 --step 60 (and --strip x4 if they are named 0001x4.png). OUT/meta_info.txt lists all squares.
Interrupted work is resumed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from aesop.data.datasets.meta_info import write_meta_info
from aesop.data.preparation.parallel import parallel, stamp
from aesop.errors import UserError
from aesop.utils.console import say
from aesop.utils.files import atomic
from aesop.utils.images import list_images, read_image, save_image
from aesop.utils.jsonl import Journal


@dataclass
class Request:
    """Arguments of `extract`.

    Args:
        folder, out: folders of the images and of the squares.
        crop_size: side of a square. step: pixels from one square to the next. thresh_size: border that may be dropped.
        strip: suffix that is removed from the names of the images.
        workers: number of processes; None: one per core.
    """

    folder: Path
    out: Path
    crop_size: int = 480
    step: int = 240
    thresh_size: int = 0
    strip: str = ''
    workers: int | None = None


class Job(NamedTuple):
    """An image and the parameters of its squares."""

    path: Path
    stem: Path  # path prefix of the squares
    cut: tuple[int, int, int]  # crop size, step, threshold


def extract(args: Request) -> None:
    """Cuts all images.

    Raises:
        UserError: some images cannot be used; the others are cut.
    """
    if min(args.crop_size, args.step, 1 if args.workers is None else args.workers) < 1 or args.thresh_size < 0:
        raise UserError('--crop-size, --step and --workers must be at least 1, and --thresh-size at least 0')
    if args.out.resolve().is_relative_to(args.folder.resolve()):
        raise UserError(f'{args.out} is inside {args.folder} and would be cut too next time; choose another folder')
    journal = Journal(args.out / '.journal.jsonl')
    if not journal.path.exists() and args.out.exists() and any(args.out.iterdir()):
        raise UserError(f'{args.out} contains files that this command did not make; choose a new or empty folder')
    args.out.mkdir(parents=True, exist_ok=True)
    journal.path.touch()
    stems = {path: stem_of(path, args) for path in list_images(args.folder)}
    if len(set(stems.values())) < len(stems):
        raise UserError(f'{args.folder}: images have the same name apart from --strip and the extension; rename them')
    jobs = [Job(path, args.out / stem, (args.crop_size, args.step, args.thresh_size)) for path, stem in stems.items()]
    to_do = [job for job in jobs if not is_done(job, journal)]
    problems: list[str] = []
    for job, record in parallel(cut, to_do, problems, 'sub-images', workers=args.workers):
        journal.add(str(job.path), record)
    if problems:
        raise UserError([*problems, 'the other images are done; repair or remove these, then run the command again'])
    squares = [square for job in jobs for square in names(job, journal.records[str(job.path)]['squares'])]
    if others := set(list_images(args.out)) - set(squares):
        raise UserError(
            f'{args.out} contains {len(others)} images that do not come from {args.folder} with these settings, e.g. '
            f'{min(others)}; remove that folder and run the command again'
        )
    shape = args.crop_size, args.crop_size, 3
    write_meta_info(args.out / 'meta_info.txt', [(path.relative_to(args.out).as_posix(), shape) for path in squares])
    say(f'{args.out}: {len(squares)} sub-images of {len(jobs)} images')


def stem_of(path: Path, args: Request) -> Path:
    return path.relative_to(args.folder).with_name(path.stem.removesuffix(args.strip))


def names(job: Job, count: int) -> list[Path]:
    return [job.stem.with_name(f'{job.stem.name}_s{n:03d}.png') for n in range(1, count + 1)]


def is_done(job: Job, journal: Journal) -> bool:
    record = journal.records.get(str(job.path))
    if record is None or {**stamp(job.path), 'cut': list(job.cut), 'squares': record['squares']} != record:
        return False
    return all(path.exists() for path in names(job, record['squares']))


def cut(job: Job) -> tuple[Job, dict[str, Any]]:
    """Writes the squares of an image; returns their record for the journal."""
    before, image = stamp(job.path), read_image(job.path)
    size, step, threshold = job.cut
    height, width = image.shape[:2]
    if min(height, width) < size:
        raise UserError(f'{job.path}: {height}x{width} pixels (height x width) is smaller than the crop size of {size}')
    corners = [
        (top, left) for top in starts(height, size, step, threshold) for left in starts(width, size, step, threshold)
    ]
    for path, (top, left) in zip(names(job, len(corners)), corners):
        with atomic(path, durable=False, suffixed=True) as part:
            save_image(part, image[top : top + size, left : left + size])
    return job, {**before, 'cut': list(job.cut), 'squares': len(corners)}


def starts(side: int, size: int, step: int, threshold: int) -> list[int]:
    """Start positions of squares of `size` along a side."""
    regular = list(range(0, side - size + 1, step))
    left_over = side - (regular[-1] + size)
    return [*regular, side - size] if left_over > threshold else regular
