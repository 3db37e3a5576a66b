"""Upscales folders: threads read and write images while the network processes others."""

import errno
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from queue import Full, Queue
from threading import Event
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from aesop.errors import UserError
from aesop.evaluation.tiling import TiledPrediction, around, step_of
from aesop.models.precision import Precision, cast_frozen
from aesop.upscale.colour import CORRECTIONS
from aesop.upscale.photo import FORMATS, Photo, levels, read_photo, write_bands, write_photo
from aesop.utils.images import EXTENSIONS, image_size, list_images

THREADS = 2  # for reading, and the same number for writing
AHEAD = 4  # images read in advance; at most THREADS results wait to be written, because they are large

LARGE = 2**24  # pixels of a result above which a PNG is written band by band while it is computed

T = TypeVar('T')


@dataclass
class Job:
    source: Path
    target: Path
    pixels: int = 0


@dataclass
class Outcome:
    """Numbers of images upscaled and skipped, and a sentence for each image that could not be upscaled."""

    done: int = 0
    skipped: int = 0
    problems: list[str] = field(default_factory=list)


def beside(source: Path, scale: int, form: str) -> Path:
    """The default output path: `photo_x4.png` beside `photo.jpg`, the folder `photos_x4` beside `photos`."""
    source = source.resolve() if source.name in ('', '..') else source
    name = source.name if source.is_dir() else source.stem
    return source.with_name(f'{name}_x{scale}{"" if source.is_dir() else form}')


def find_jobs(source: Path, output: Path, suffix: str, form: str | None, overwrite: bool) -> tuple[list[Job], Outcome]:
    """The images to upscale, and an outcome that counts existing results and lists unusable images.

    Args:
        source: an image, or a folder, which is searched recursively.
        output: a folder, which gets the sub-folders of `source`; for one image also a file, by its extension.
        suffix: appended to the names.
        form: extension of the results, e.g. `.jpg`; None: `.png`.
        overwrite: replace existing results.

    Raises:
        UserError: no image found, or the results would be written among the images.
    """
    outcome, jobs, sources = Outcome(), [], {}
    if form and output.suffix.lower() in FORMATS and FORMATS[form] != FORMATS[output.suffix.lower()]:
        raise UserError(f'{output}: its extension contradicts --format {form[1:]}; remove one of them')
    for image, target in _pairs(source, output, suffix, form or '.png'):
        first = sources.setdefault(target, image)
        if first is not image:
            outcome.problems.append(f'{image}: its result would be {target} as that of {first.name}; rename one')
        elif target.exists() and not overwrite:
            outcome.skipped += 1
        else:
            try:
                height, width = image_size(image)
                jobs.append(Job(image, target, height * width))
            except UserError as error:
                outcome.problems += error.problems
    return jobs, outcome


def _pairs(source: Path, output: Path, suffix: str, form: str) -> Iterator[tuple[Path, Path]]:
    """Each image and its result."""
    if not source.exists():
        raise UserError(f'{source}: file or folder not found; correct the path')
    if output.is_file() and source.is_dir():
        raise UserError(f'{output} is a file; results of a folder need a folder')
    if source.is_file():
        if output.suffix.lower() in EXTENSIONS - FORMATS.keys():
            raise UserError(f'{output}: results are {", ".join(FORMATS)}; name one of these, or a folder')
        is_file = output.suffix.lower() in FORMATS and not output.is_dir()
        target = output if is_file else output / f'{source.stem}{suffix}{form}'
        if target.resolve() == source.resolve():
            raise UserError(f'{target} is the image itself: name another file or folder with -o')
        yield source, target
        return
    if output.resolve() == source.resolve():
        raise UserError(f'{output} holds the images themselves: name another folder with -o')
    images = [path for path in list_images(source) if output.resolve() not in path.resolve().parents]
    if not images:
        raise UserError(f'{source} contains no images other than the results in {output}')
    for image in images:
        name = image.relative_to(source)
        yield image, output / name.with_name(f'{image.stem}{suffix}{form}')


class Upscaler:
    """A network that is ready to upscale images of any size.

    Args:
        net: from `load_generator`.
        runtime: device, precision, compilation.
        tile: side of a tile in pixels; None: whole images, unless memory runs out.
        overlap: pixels around a tile.
        batch: number of tiles, or of whole images of equal size, in a forward pass.
        colour: see `aesop.upscale.colour.CORRECTIONS`; None: no correction.
        blend: width in pixels over which neighbouring tiles are cross-faded.
    """

    def __init__(
        self,
        net: Any,
        runtime: Precision,
        tile: int | None,
        overlap: int,
        batch: int,
        colour: str | None = None,
        blend: int = 0,
    ) -> None:
        self.scale: int = net.scale
        self._correct = CORRECTIONS[colour] if colour else None
        self._net, self._runtime = runtime.prepare(net), runtime
        cast_frozen(self._net, runtime.dtype)
        runtime.compile(self._net)
        self._step = step_of(net)
        self.predict = TiledPrediction(self._forward, net.scale, tile, overlap, self._step, batch, blend=blend)
        self._whole_results = bool(colour or blend)

    def _forward(self, lq: Tensor) -> Tensor:
        self._runtime.begin_step()
        return self._runtime.call(self._net, self._runtime.to_device(lq))

    @torch.inference_mode()
    def __call__(self, photos: list[Photo]) -> Tensor:
        """(N, 3, scale * h, scale * w) on the device, of photos of equal size; a GPU may still be computing it."""
        lq = self._runtime.to_device(torch.stack([photo.image() for photo in photos]))
        sr = self.predict(lq)
        return self._correct(sr, lq) if self._correct else sr

    @torch.inference_mode()
    def bands(self, photo: Photo, suffix: str) -> Iterator[Tensor]:
        """The `levels` of the result from top to bottom, (C, rows, scale * w) on the device at a time.

        Neither the whole result nor a floating-point copy of the whole photo is held in memory.

        Raises:
            UserError: a number is not finite.
        """

        def in_levels(sr: Tensor) -> Tensor:
            if not sr.isfinite().all():
                raise not_finite(photo)
            return levels(sr, photo, suffix)

        height, width = photo.size
        top = 0
        while top < height:
            tile, overlap = self.predict.tile or max(height, width), self.predict.overlap
            rows = min(max(tile - 2 * overlap, self._step), height - top)  # with the overlap around them: one tile
            seen = around(top, rows, overlap, height)
            lq = self._runtime.to_device(photo.image(slice(seen.start, seen.stop))[None])
            first = self.scale * (top - seen.start)
            yield self.predict(lq, in_levels)[0, :, first : first + self.scale * rows]
            top += rows

    def is_large(self, photo: Photo) -> bool:
        """Whether the result should be written in bands rather than held in memory."""
        return not self._whole_results and bool(self.predict.tile) and self.scale**2 * math.prod(photo.size) > LARGE

    def groups(self, photos: Iterable[Photo]) -> Iterator[list[Photo]]:
        """Photos in order; consecutive ones of equal size form a batch, unless they are larger than a tile."""
        group: list[Photo] = []
        for photo in photos:
            if group and photo.size != group[0].size:
                yield group
                group = []
            group.append(photo)
            large = max(photo.size) > (self.predict.tile or math.inf)
            if large or len(group) >= self.predict.batch:
                yield group
                group = []
        if group:
            yield group


def run(upscaler: Upscaler, jobs: list[Job], outcome: Outcome, quality: int) -> None:
    """Upscales all images that are usable and adds the result of each to `outcome`.

    Raises:
        UserError: the disk is full, or memory ran out.
    """
    pixels = {job.source: job.pixels for job in jobs}
    targets = {job.source: job.target for job in jobs}
    bar = tqdm(total=sum(pixels.values()), unit='px', unit_scale=True, dynamic_ncols=True, disable=None)
    finished = 0
    upscaler.predict.progress = bar.update
    with (
        bar,
        logging_redirect_tqdm([logging.getLogger('aesop')]),
        ThreadPoolExecutor(THREADS, thread_name_prefix='reader') as readers,
        ThreadPoolExecutor(THREADS, thread_name_prefix='writer') as writers,
    ):
        results = _Results(writers, outcome)
        try:
            for group in upscaler.groups(_readable(_ahead(readers, _read, jobs), outcome)):
                results.settle(THREADS - 1)
                target = targets[group[0].path]
                if upscaler.is_large(group[0]) and FORMATS[target.suffix.lower()] == 'PNG':
                    bands = Bands()
                    results.submit(target, group[0], _write_large, upscaler.scale, bands)
                    bands.feed(upscaler.bands(group[0], target.suffix))
                else:
                    for photo, sr in zip(group, upscaler(group)):
                        result = levels_of(sr, photo, target.suffix)
                        results.submit(targets[photo.path], photo, _write, result, quality)
                finished += sum(pixels[photo.path] for photo in group)
                bar.update(finished - bar.n)  # tiles have been counted, some twice if memory ran out
        except BaseException:
            readers.shutdown(wait=False, cancel_futures=True)
            raise
        finally:  # writes what has been computed
            results.settle(0)


def _read(job: Job) -> Photo | UserError:
    try:
        return read_photo(job.source)
    except UserError as error:
        return error


def _readable(photos: Iterable[Photo | UserError], outcome: Outcome) -> Iterator[Photo]:
    for photo in photos:
        if isinstance(photo, UserError):
            outcome.problems += photo.problems
        else:
            yield photo


class _Results:
    """Results that are being written, at most THREADS at a time; the outcome of each is added to `outcome`."""

    def __init__(self, writers: ThreadPoolExecutor, outcome: Outcome) -> None:
        self._writers, self._outcome = writers, outcome
        self._writing: deque[tuple[Path, Path, Future]] = deque()

    def submit(self, target: Path, photo: Photo, write: Callable[..., None], *args: Any) -> None:
        """Calls `write(target, photo, *args)` in a thread; waits until one is free."""
        self.settle(THREADS - 1)
        self._writing.append((target, photo.path, self._writers.submit(write, target, photo, *args)))

    def settle(self, left: int) -> None:
        """Waits until no more than `left` results are being written."""
        while len(self._writing) > left:
            target, source, written = self._writing.popleft()
            try:
                written.result()
                self._outcome.done += 1
            except UserError as error:
                self._outcome.problems += error.problems
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise UserError(f'{target}: the disk is full; free some space, and run it again') from error
                self._outcome.problems.append(f'{source}: {target} could not be written ({error.strerror})')


def _write(target: Path, photo: Photo, result: Callable[[], np.ndarray], quality: int) -> None:
    write_photo(target, photo, result(), quality)


def _write_large(target: Path, photo: Photo, scale: int, bands: 'Bands') -> None:
    try:
        write_bands(target, photo, scale, bands)
    finally:
        bands.abandon()


def levels_of(sr: Tensor, photo: Photo, suffix: str) -> Callable[[], np.ndarray]:
    """A function that returns `levels` on the CPU, to be called by the writing thread.

    On a GPU they are computed there and copied, a quarter of the bytes, while the network continues.

    Raises (when called): UserError: a number is not finite.
    """

    def made() -> tuple[Tensor, Tensor]:
        return levels(sr, photo, suffix).permute(1, 2, 0).contiguous(), sr.isfinite().all()

    def checked(pixels: Tensor, finite: Tensor) -> np.ndarray:
        if not finite:
            raise not_finite(photo)
        return pixels.numpy()

    if sr.device.type == 'cpu':
        return lambda: checked(*made())
    pixels, finite = (t.to('cpu', non_blocking=True) for t in made())
    copied = torch.cuda.Event()
    copied.record()
    return lambda: (copied.synchronize(), checked(pixels, finite))[1]


def not_finite(photo: Photo) -> UserError:
    return UserError(f'{photo.path}: the network gave no finite numbers; try --precision fp32, or bf16')


class Bands:
    """Passes bands of an image from the network to the thread that writes them; at most one waits."""

    def __init__(self) -> None:
        self._queue: Queue[np.ndarray | BaseException | None] = Queue(1)
        self._abandoned = Event()

    def feed(self, bands: Iterable[Tensor]) -> None:
        """Passes on each (C, rows, W) as (rows, W, C), until there are no more or the reader has given up.

        A UserError is raised in the reader.
        """
        try:
            for band in bands:
                self._put(band.permute(1, 2, 0).contiguous().cpu().numpy())
                if self._abandoned.is_set():
                    return
            self._put(None)
        except UserError as error:
            self._put(error)
        except BaseException:
            self._put(UserError('the image was not computed completely'))
            raise

    def _put(self, band: np.ndarray | BaseException | None) -> None:
        while not self._abandoned.is_set():
            try:
                self._queue.put(band, timeout=0.1)
                return
            except Full:
                continue

    def __iter__(self) -> Iterator[np.ndarray]:
        while (band := self._queue.get()) is not None:
            if isinstance(band, BaseException):
                raise band
            yield band

    def abandon(self) -> None:
        self._abandoned.set()


def _ahead(pool: ThreadPoolExecutor, function: Callable[[Any], T], items: Iterable[Any]) -> Iterator[T]:
    """function(item) for each item, in order, computed up to AHEAD items in advance."""
    rest = iter(items)
    waiting = deque(pool.submit(function, item) for item in islice(rest, AHEAD))
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(pool.submit(function, item) for item in islice(rest, 1))
        yield result
