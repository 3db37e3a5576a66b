"""Training crops per second: a plain loader, LMDB and the decode cache, on the same images.

Each loader returns batches of random pairs (a ground-truth crop and its low-resolution image, with flips and
rotations). All loaders give the same pairs: their first batches are compared before timing. `plain` decodes both whole
PNGs with OpenCV for each crop; `lmdb` does the same from an LMDB with BasicSR's layout; `cache` reads the rows of the
crop from `cache: disk`; `cache, LR made` reads only the ground truth in this way and makes the low-resolution crop by
`imresize`.

2K images are mosaics of photographs, so that their PNGs compress like those of photographs; sub-images are 480x480
pieces of them. `cold` is one pass over all images after their files were dropped from the page cache (with the
megabytes read from disk, as counted by the system), `warm` the median over rounds in which the loaders alternate.
Workers are started before the clock. The disk of a virtual machine may have a cache of its own, which cannot be
dropped.
"""

import argparse
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from aesop.benchmarks import measure
from aesop.benchmarks.measure import Row, Table
from aesop.data import build_dataset
from aesop.data.loader import Loader
from aesop.data.preparation import lmdb_writer
from aesop.data.storage import lmdb
from aesop.errors import UserError
from aesop.utils.images import list_images, read_image, save_image
from aesop.utils.imresize import imresize

SCALE = 4
SIZE_2K = 1356, 2040  # the most frequent size of DIV2K's images
SUB = 480
SECONDS = 1.0  # that a warm pass takes at least
Batches = list[list[int]]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--images', type=Path, help="a folder of photographs instead of scikit-image's")
    parser.add_argument('--count', type=int, default=40, help='2K images; there are eight sub-images of each')
    parser.add_argument('--workers', type=int, nargs='+', default=[0, 2, 4])
    parser.add_argument('--rounds', type=int, default=3, help='warm passes')
    parser.add_argument('--gt_size', type=int, default=128)
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--folder', type=Path, help='where the images are made; default: a temporary folder')


def run(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    tables = []
    with TemporaryDirectory(dir=args.folder) as folder:
        make_images(photographs(args.images), args.count, Path(folder))
        for kind, title in (('2k', '2K images'), ('sub', 'Sub-images of 480x480')):
            tables.append(Table(title, measured(Path(folder) / kind, args), described(Path(folder) / kind)))
    tables.append(Table('imresize, scale 1/4', resizers(args.rounds), RESIZE_TEXT))
    about = measure.environment() | {'batch': args.batch, 'gt_size': args.gt_size, 'opencv': cv2.__version__}
    text = measure.title_and_text(__doc__)[1]
    measure.write(args.output, 'data', args.command, about, 'Training data', text, tables)


# Images


def photographs(folder: Path | None) -> list[np.ndarray]:
    if folder is not None:
        return [read_image(path) for path in list_images(folder)[:100]]
    names = 'astronaut.png', 'chelsea.png', 'coffee.png', 'rocket.jpg', 'motorcycle_left.png'
    found = [Path(str(files('skimage') / 'data' / name)) for name in names]
    return [read_image(path) for path in found if path.is_file()]


def make_images(sources: Sequence[np.ndarray], count: int, folder: Path) -> None:
    """`folder`/2k and /sub with HR and LR images, each also as HR.lmdb and LR.lmdb."""
    rng = np.random.default_rng(0)
    for number in range(count):
        gt = mosaic(sources, rng)
        save_pair(folder / '2k', f'{number:03}', gt)
        pieces = [(y, x) for y in range(0, SIZE_2K[0] - SUB, SUB) for x in range(0, SIZE_2K[1] - SUB, SUB)]
        for part, (y, x) in enumerate(pieces):
            save_pair(folder / 'sub', f'{number:03}_s{part:03}', gt[y : y + SUB, x : x + SUB])
    for kind in ('2k', 'sub'):
        for side in ('HR', 'LR'):
            lmdb_writer.create(folder / kind / side, folder / kind / f'{side}.lmdb', workers=1)


def mosaic(sources: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Photographs in rows, at their own resolution, mirrored or not, each row beginning somewhere in one."""
    height, width = SIZE_2K
    rows = []
    while sum(len(row) for row in rows) < height:
        tiles = [sources[int(rng.integers(len(sources)))][:, :: rng.choice((-1, 1))] for _ in range(width // 200)]
        tall = min(len(tile) for tile in tiles)
        row = np.concatenate([tile[:tall] for tile in tiles], axis=1)
        rows.append(row[:, rng.integers(100) :][:, :width])
    return np.ascontiguousarray(np.concatenate(rows)[:height])


def save_pair(folder: Path, name: str, gt: np.ndarray) -> None:
    save_image(folder / 'HR' / f'{name}.png', gt)
    save_image(folder / 'LR' / f'{name}.png', imresize(np.ascontiguousarray(gt), 1 / SCALE))


def described(folder: Path) -> str:
    paths = list_images(folder / 'HR')
    stored, decoded = sum(path.stat().st_size for path in paths), sum(read_image(path).nbytes for path in paths)
    size = f'{stored / 1e6:.0f} MB as PNG, {decoded / 1e6:.0f} MB decoded ({stored / decoded:.0%})'
    return f'{len(paths)} images, {size}. Crops a second, and as multiples of `plain` with as many workers.'


# Loaders


class Plain(Dataset):
    """Whole PNGs decoded by OpenCV for each crop. It draws the same images, places and symmetries as the data sets."""

    def __init__(self, folder: Path, gt_size: int, seed: int = 0) -> None:
        self.pairs = [(path, folder / 'LR' / path.name) for path in list_images(folder / 'HR')]
        self.gt_size, self.seed = gt_size, seed

    def __getitem__(self, n: int) -> dict[str, Any]:
        epoch, place = divmod(n, len(self.pairs))
        order = np.random.default_rng((self.seed, epoch, 1)).permutation(len(self.pairs))
        files = [np.fromfile(path, np.uint8) for path in self.pairs[order[place]]]
        gt, lq = (np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR)) for file in files)
        rng = np.random.default_rng((self.seed, n))
        side = self.gt_size // SCALE
        top, left = (int(rng.integers(length // SCALE - side + 1)) for length in gt.shape[:2])
        lq = lq[top : top + side, left : left + side]
        gt = gt[SCALE * top : SCALE * (top + side), SCALE * left : SCALE * (left + side)]
        mirror, turn, transpose = rng.random(3) < 0.5
        return {'lq': tensor(lq, mirror, turn, transpose), 'gt': tensor(gt, mirror, turn, transpose)}


def tensor(image: np.ndarray, mirror: bool, turn: bool, transpose: bool) -> Tensor:
    if mirror:
        image = cv2.flip(image, 1)
    if turn:
        image = cv2.flip(image, 0)
    if transpose:
        image = image.transpose(1, 0, 2)
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.float32) / 255.0
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def datasets(folder: Path, gt_size: int) -> dict[str, Callable[[], Dataset]]:
    """What makes each data set anew, by name."""

    def pairs(suffix: str = '', **more: Any) -> Dataset:
        roots = {f'dataroot_{key}': f'{folder / side}{suffix}' for key, side in (('gt', 'HR'), ('lq', 'LR'))}
        return build_dataset({'type': 'PairedImageDataset', **roots, **cached(more)})

    def alone(**more: Any) -> Dataset:
        return build_dataset({'type': 'BicubicImageDataset', 'dataroot_gt': str(folder / 'HR'), **cached(more)})

    def cached(more: dict[str, Any]) -> dict[str, Any]:
        return {'gt_size': gt_size, 'scale': SCALE, 'cache_dir': str(folder / 'cache'), **more}

    return {
        'plain': lambda: Plain(folder, gt_size),
        'lmdb': lambda: pairs('.lmdb', io_backend={'type': 'lmdb'}),
        'cache': lambda: pairs(cache='disk'),
        'cache, LR made': lambda: alone(cache='disk'),
    }


class Batched:
    """A batch sampler whose batches can be changed between two passes, while the workers live on."""

    def __init__(self) -> None:
        self.batches: Batches = []

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class Passes:
    """A loader whose workers are running."""

    def __init__(self, dataset: Dataset, workers: int, batch: int) -> None:
        self.sampler, self.batch = Batched(), batch
        self.loader = Loader(dataset, workers, batch_sampler=self.sampler, persistent_workers=workers > 0)
        self.go(range(max(1, workers)), 1)

    def go(self, positions: Sequence[int], batch: int | None = None) -> float:
        """Seconds that the samples at these positions take."""
        size = batch or self.batch
        self.sampler.batches = [list(positions[start : start + size]) for start in range(0, len(positions), size)]
        start = time.perf_counter()
        for _ in self.loader:
            pass
        return time.perf_counter() - start


def measured(folder: Path, args: argparse.Namespace) -> list[Row]:
    makers = datasets(folder, args.gt_size)
    check_equal([make() for make in makers.values()], args.batch)
    count = len(list_images(folder / 'HR'))
    rows: list[Row] = []
    for workers in args.workers:
        found: dict[str, Row] = {}
        passes, lengths = {}, {}
        lmdb.close()  # what is mapped stays in memory
        for name, make in makers.items():
            one = Passes(make(), workers, args.batch)
            dropped, before = drop(folder), bytes_read()
            cold = one.go(range(count))
            read = (bytes_read() - before) / 1e6 if workers == 0 and dropped else None
            lengths[name] = count * math.ceil(SECONDS / one.go(range(count)))
            passes[name] = one
            found[name] = {'workers': workers, 'loader': name, 'cold': count / cold, 'MB read': read}
        seconds: dict[str, list[float]] = {name: [] for name in makers}
        for number in range(args.rounds):
            for name in list(makers)[:: -1 if number % 2 else 1]:
                seconds[name].append(passes[name].go(range(lengths[name])))
        for name, row in found.items():
            row['warm'] = lengths[name] / statistics.median(seconds[name])
            row |= {f'{kind} / plain': row[kind] / found['plain'][kind] for kind in ('cold', 'warm')}
            rows.append(row)
    return rows


def check_equal(sets: Sequence[Dataset], batch: int) -> None:
    first, *others = (next(iter(Loader(one, 0, batch_sampler=[list(range(batch))]))) for one in sets)
    for other in others:
        if not all(torch.equal(first[key], other[key]) for key in ('gt', 'lq')):
            raise UserError('the loaders give different crops: what they are compared by would not be the same work')


def drop(folder: Path) -> bool:
    """Takes the pages of all files below a folder out of memory, where the system can be asked to."""
    if not hasattr(os, 'posix_fadvise'):
        return False
    for path in folder.rglob('*'):
        if path.is_file():
            with open(path, 'rb') as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True


def bytes_read() -> int:
    """What this process has had read from disks so far."""
    counts = Path('/proc/self/io')
    return int(counts.read_text().split('\nread_bytes:')[1].split()[0]) if counts.exists() else 0


# Resizing

RESIZE_TEXT = (
    '`plain` is the definition in NumPy: a weighted sum of input rows for each output row, then the same for columns. '
    'All give the same 8-bit images. The batch is 16 images in one call, as float32 tensors for `imresize`.'
)


def resizers(rounds: int) -> list[Row]:
    rng = np.random.default_rng(0)
    rows = []
    for title, shape in (('a crop with its margin', (144, 144)), ('a sub-image', (SUB, SUB)), ('2K', SIZE_2K)):
        image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        plain, ours = partial(plain_imresize, image, 1 / SCALE), partial(imresize, image, 1 / SCALE)
        if not np.array_equal(plain(), ours()):
            raise UserError('imresize and its plain form differ')
        rows.append(timed_pair(title, plain, ours, rounds))
    batch = rng.random((16, 128, 128, 3), dtype=np.float32)
    tensors = torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()
    plain, ours = lambda: [plain_imresize(image, 1 / SCALE) for image in batch], partial(imresize, tensors, 1 / SCALE)
    return [*rows, timed_pair('a batch', plain, ours, rounds)]


def timed_pair(title: str, plain: Callable[[], object], ours: Callable[[], object], rounds: int) -> Row:
    timings = measure.interleave({'plain': plain, 'imresize': ours}, max(rounds, 5))
    milliseconds = {f'{name} ms': 1000 * timing.median for name, timing in timings.items()}
    return {'image': title, **milliseconds, 'speed / plain': timings['plain'].median / timings['imresize'].median}


def plain_imresize(image: np.ndarray, scale: float) -> np.ndarray:
    """`aesop.imresize` of an HWC array, as it is defined: output row by output row, then column by column."""
    out = image.astype(np.float64)
    for axis in (0, 1):
        out = np.moveaxis(out, axis, 0)
        size, stretch = len(out), min(scale, 1.0)
        rows = []
        for number in range(math.ceil(size * scale)):
            centre = (number + 0.5) / scale - 0.5
            taps = np.arange(math.floor(centre - 2 / stretch), math.ceil(centre + 2 / stretch) + 1)
            x = np.abs(centre - taps) * stretch
            near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
            weights = np.where(x <= 1, near, np.where(x < 2, far, 0.0))
            mirrored = np.minimum(taps % (2 * size), 2 * size - 1 - taps % (2 * size))
            rows.append((weights[:, None, None] * out[mirrored]).sum(axis=0) / weights.sum())
        out = np.moveaxis(np.stack(rows), 0, axis)
        if image.dtype.kind == 'u':
            out = np.clip(np.floor(out + 0.5), 0, np.iinfo(image.dtype).max)
    return out.astype(image.dtype)
