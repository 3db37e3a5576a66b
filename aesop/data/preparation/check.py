"""Looks at the data sets of option files before a run meets them.

It tells what each set holds and, in one list, all that is wrong: folders, pairs, sizes, files that cannot be read, and
images of a training set that a test set has too. It draws batches as the network sees them.
"""

import math
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from aesop.data import build_dataset
from aesop.data.datasets.base import ImageDataset
from aesop.data.datasets.realesrgan import RealESRGANDataset
from aesop.data.datasets.transforms import Window
from aesop.data.degradation.real import build_degradation
from aesop.data.preparation.parallel import parallel
from aesop.data.storage.source import Folders
from aesop.errors import UserError, error_context
from aesop.options import Options, load_options
from aesop.utils.console import say
from aesop.utils.images import save_image, to_uint8

ALIKE = 0.75  # cosine of two fingerprints from which on images count as one; different photographs stay below 0.6
_FREQUENCIES = 12  # of a fingerprint, along each side
_SHOWN, _COLUMNS = 8, 2  # samples in a picture, and in a row of it
_SIDE = 256  # ground-truth pixels that a picture shows of a whole image


class Place(NamedTuple):
    """A data set and where it is described."""

    key: str
    dataset: ImageDataset
    is_training: bool


def check(
    files: Sequence[str | os.PathLike[str]],
    overrides: Sequence[str] = (),
    full: bool = False,
    workers: int | None = None,
    output: Path = Path('results/check'),
) -> None:
    """Tells what the data sets of option files hold, and draws what the network sees of each.

    Args:
        overrides: of options, 'KEY=VALUE'.
        full: decode every file, not the ground truths alone.
        workers: processes; None: one a core.
        output: folder of the pictures.

    Raises:
        UserError: all that is wrong.
    """
    problems: list[str] = []
    places: list[Place] = []
    for file in files:
        options = load_options(file, overrides)
        for name, block in options.datasets.items():
            key = f'datasets.{name}' if len(files) == 1 else f'{file}: datasets.{name}'
            with error_context(key, problems):
                dataset = build_dataset(block, scale=options.scale, seed=options.manual_seed, name=name)
                if not isinstance(dataset, ImageDataset):
                    say(f'{key}: {block["type"]} is not looked at: it has no files that are known here')
                    continue
                places.append(Place(key, dataset, name.startswith('train')))
                say(f'{key}: {describe(dataset)}')
                if found := dataset.check():
                    raise UserError(found)
                picture = output / Path(file).stem / f'{name}.png'
                save_image(picture, overview(dataset, options))
                say(f'    as the network sees it: {picture}')
    undecodable: list[str] = []
    prints = decode(places, full, workers, undecodable)
    told = '\n'.join(problems)  # a file that its header gave away is not told a second time
    problems += [problem for problem in undecodable if f'{problem.partition(": ")[0]}: ' not in told]
    problems += duplicates(places, prints)
    if problems:
        raise UserError([*problems, f'{len(problems)} in all'])
    say('nothing is wrong')


# What the headers tell


def describe(dataset: ImageDataset, most: int | None = None) -> str:
    """How many images there are, of what sizes and kinds, as their first bytes tell.

    Args:
        most: look at this many of them, evenly spread.
    """
    items = dataset.items[:: max(1, math.ceil(len(dataset.items) / (most or math.inf)))]
    parts = []
    for which, paths in zip(('gt', 'lq') if dataset.has_gt else ('lq',), zip(*items)):
        with ThreadPoolExecutor(16) as pool:
            headers = [header for header in pool.map(partial(_header, dataset), paths) if header is not None]
        if headers:
            sizes = sorted({(height * width, f'{height}x{width}') for (height, width), _ in headers})
            sizes = ' to '.join(size for _, size in (sizes if len(sizes) < 3 else sizes[:: len(sizes) - 1]))
            kinds = Counter(kind for _, kind in headers).most_common()
            parts.append(f'{which} {sizes} ({", ".join(f"{count} {kind}" for kind, count in kinds)})')
    looked_at = '' if len(items) == len(dataset.items) else f' of {len(items)} of them'
    return f'{dataset}: {len(dataset.items)} images, height x width{looked_at} {"; ".join(parts)}'


def _header(dataset: ImageDataset, path: Path) -> tuple[tuple[int, int], str] | None:
    """Size and kind; None for what `dataset.check` finds fault with."""
    try:
        return dataset._source.size(path), dataset._source.kind(path)
    except UserError:
        return None


def shared(training: ImageDataset, other: ImageDataset) -> list[Path]:
    """The files of `other` that are in `training` too."""
    known = {os.path.realpath(path) for item in training.items for path in item}
    return [path for item in other.items for path in item if os.path.realpath(path) in known]


# What the pixels tell


def fingerprint(image: np.ndarray) -> np.ndarray:
    """(144,) float32 of length 1: what is alike in the copies of a photograph.

    Its grey values as 32x32 pixels, their cosine transform's lowest 12x12 frequencies without the mean, each times its
    frequency, since photographs have the more energy the lower it is. The cosine of two fingerprints is above 0.8 for
    copies of another size, JPEG quality or brightness and for those cropped to a multiple of 12; of 400 photographs no
    two are above 0.6.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    spectrum = cv2.dct(cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA))[:_FREQUENCIES, :_FREQUENCIES]
    weighted = (spectrum * np.add.outer(np.arange(_FREQUENCIES), np.arange(_FREQUENCIES))).ravel()
    return (weighted / max(np.linalg.norm(weighted), 1e-6)).astype(np.float32)


def duplicates(places: Sequence[Place], prints: dict[Path, np.ndarray]) -> list[str]:
    """The images of training sets that look like one of another set, a sentence each.

    Args:
        prints: of the first file of each item; one that is missing is left out.
    """
    found: dict[tuple[Path, Path], tuple[str, float]] = {}
    for training, other in product(places, places):
        mine, theirs = ([path for path, *_ in place.dataset.items if path in prints] for place in (training, other))
        if training.is_training and not other.is_training and mine and theirs:
            alike = np.stack([prints[path] for path in theirs]) @ np.stack([prints[path] for path in mine]).T
            for t, m in np.argwhere(alike > ALIKE):
                found.setdefault((mine[m], theirs[t]), (other.key, alike[t, m]))
    return [
        f'{mine}: the same picture as {theirs} of {key} (likeness {alike:.2f}); do not train on what is tested on'
        for (mine, theirs), (key, alike) in found.items()
    ]


def decode(places: Sequence[Place], full: bool, workers: int | None, problems: list[str]) -> dict[Path, np.ndarray]:
    """Fingerprints of the first files of all items, where there is a training set and another to compare it with.

    Args:
        full: decode all other files too.
        problems: gets what cannot be decoded.
    """
    compared = {place.is_training for place in places} == {True, False}
    jobs = {
        path: (place.dataset._source, path)
        for place in places
        for item in place.dataset.items
        for path in (item if full else item[:1] if compared else ())
    }
    if full:
        jobs |= {path: (source, path) for place in places for source, path in place.dataset.other_files()}
    return dict(parallel(_print_of, list(jobs.values()), problems, 'decoding', workers=workers))


def _print_of(job: tuple[Folders, Path]) -> tuple[Path, np.ndarray]:
    source, path = job
    return path, fingerprint(source.read(path))


# What the network sees


def overview(dataset: ImageDataset, options: Options) -> np.ndarray:
    """A picture (H, W, 3) uint8 of samples: the low-resolution image, enlarged, beside the ground truth.

    Of a training set these are the first crops that a run of these options takes; of others the middles of the first
    images.
    """
    dataset.cache = 'none'  # to build one is the run's affair
    is_endless = getattr(dataset, 'gt_size', None) is not None
    samples = [dataset[n] for n in range(_SHOWN if is_endless else min(_SHOWN, len(dataset)))]
    if isinstance(dataset, RealESRGANDataset):
        batch = build_degradation(options, 'cpu')(default_collate(samples))
        samples = [{'lq': lq, 'gt': gt} for lq, gt in zip(batch['lq'], batch['gt'])]
    tiles = [_tile(sample, dataset, options.scale or 1) for sample in samples]
    sides = np.max([tile.shape for tile in tiles], axis=0)
    tiles = [np.pad(tile, [(0, most - side) for most, side in zip(sides, tile.shape)]) for tile in tiles]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % _COLUMNS)
    return np.vstack([np.hstack(tiles[n : n + _COLUMNS]) for n in range(0, len(tiles), _COLUMNS)])


def _tile(sample: dict[str, Any], dataset: ImageDataset, scale: int) -> np.ndarray:
    """One sample, at most `_SIDE` high and twice as wide."""
    lq = _pixels(sample['lq'], dataset)
    if 'gt' not in sample:
        return _middle(lq, _SIDE).cut(lq)
    window = _middle(lq, _SIDE // scale)
    lq, gt = window.cut(lq), window.times(scale).cut(_pixels(sample['gt'], dataset))
    enlarged = cv2.resize(lq, gt.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return np.pad(np.hstack([enlarged, gt]), [(0, 4), (0, 4), (0, 0)])


def _pixels(image: Tensor, dataset: ImageDataset) -> np.ndarray:
    """What the files hold: `mean` and `std` taken back, luma as grey."""
    for values, back in ((dataset.std, torch.mul), (dataset.mean, torch.add)):
        if values is not None:
            image = back(image, image.new_tensor(values).view(-1, 1, 1))
    return to_uint8(image.expand(3, -1, -1))


def _middle(image: np.ndarray, side: int) -> Window:
    height, width = image.shape[:2]
    return Window(max(0, height - side) // 2, max(0, width - side) // 2, min(side, height), min(side, width))
