"""Checks the data sets of option files before a run.

Reports the content of each data set and, in one list, all problems: missing folders and pairs, wrong sizes, unreadable
files, and training images that are also in a test set. Draws samples as the network sees them.
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

ALIKE = 0.75  # minimum cosine similarity of the fingerprints of duplicates; different photographs stay below 0.6
_FREQUENCIES = 12  # per side of a fingerprint
_SHOWN, _COLUMNS = 8, 2  # samples in a picture, and in each row
_SIDE = 256  # largest side of a sample in a picture, ground-truth pixels


class Place(NamedTuple):
    """A data set and its key in the options."""

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
    """Reports the content of the data sets of option files, and draws samples of each as the network sees them.

    Args:
        overrides: overrides of options, 'KEY=VALUE'.
        full: decode every file instead of only the ground truths.
        workers: number of processes; None: one per core.
        output: folder of the pictures.

    Raises:
        UserError: all problems found.
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
                    say(f'{key}: {block["type"]} is not checked: its files are unknown')
                    continue
                places.append(Place(key, dataset, name.startswith('train')))
                say(f'{key}: {describe(dataset)}')
                if found := dataset.check():
                    raise UserError(found)
                picture = output / Path(file).stem / f'{name}.png'
                save_image(picture, overview(dataset, options))
                say(f'    as the network sees it: {picture}')
    undecodable: list[str] = []
    fingerprints = decode(places, full, workers, undecodable)
    reported = '\n'.join(problems)  # files with a damaged header are not reported twice
    problems += [problem for problem in undecodable if f'{problem.partition(": ")[0]}: ' not in reported]
    problems += duplicates(places, fingerprints)
    if problems:
        raise UserError([*problems, f'{len(problems)} problems'])
    say('no problems found')


# Headers


def describe(dataset: ImageDataset, most: int | None = None) -> str:
    """Number, sizes and formats of the images, according to their headers.

    Args:
        most: read only this many headers, evenly spaced.
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
    """Size and format; None for files that `dataset.check` reports."""
    try:
        return dataset._source.size(path), dataset._source.kind(path)
    except UserError:
        return None


def shared(training: ImageDataset, other: ImageDataset) -> list[Path]:
    """The files of `other` that are in `training` too."""
    known = {os.path.realpath(path) for item in training.items for path in item}
    return [path for item in other.items for path in item if os.path.realpath(path) in known]


# Pixels


def fingerprint(image: np.ndarray) -> np.ndarray:
    """(144,) float32 of length 1, which is similar for copies of a photograph.

    The 12x12 lowest frequencies, without the mean, of the cosine transform of the image as 32x32 grey pixels, each
    multiplied by its frequency, since the energy of photographs falls with frequency. The cosine similarity is above
    0.8 for copies of another size, JPEG quality or brightness and for crops to a multiple of 12; between 400 different
    photographs it stays below 0.6.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    spectrum = cv2.dct(cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA))[:_FREQUENCIES, :_FREQUENCIES]
    weighted = (spectrum * np.add.outer(np.arange(_FREQUENCIES), np.arange(_FREQUENCIES))).ravel()
    return (weighted / max(np.linalg.norm(weighted), 1e-6)).astype(np.float32)


def duplicates(places: Sequence[Place], fingerprints: dict[Path, np.ndarray]) -> list[str]:
    """The training images that are also in another data set, one sentence each.

    Args:
        fingerprints: of the first file of each item; items without one are skipped.
    """
    found: dict[tuple[Path, Path], tuple[str, float]] = {}
    for training, other in product(places, places):
        mine, theirs = (
            [path for path, *_ in place.dataset.items if path in fingerprints] for place in (training, other)
        )
        if training.is_training and not other.is_training and mine and theirs:
            alike = np.stack([fingerprints[p] for p in theirs]) @ np.stack([fingerprints[p] for p in mine]).T
            for t, m in np.argwhere(alike > ALIKE):
                found.setdefault((mine[m], theirs[t]), (other.key, alike[t, m]))
    return [
        f'{mine}: the same picture as {theirs} of {key} (similarity {alike:.2f}); do not train on test images'
        for (mine, theirs), (key, alike) in found.items()
    ]


def decode(places: Sequence[Place], full: bool, workers: int | None, problems: list[str]) -> dict[Path, np.ndarray]:
    """Fingerprints of the first files of all items, if there is a training set and another one to compare it with.

    Args:
        full: decode all other files too.
        problems: receives the files that cannot be decoded.
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
    return dict(parallel(_fingerprint_of, list(jobs.values()), problems, 'decoding', workers=workers))


def _fingerprint_of(job: tuple[Folders, Path]) -> tuple[Path, np.ndarray]:
    source, path = job
    return path, fingerprint(source.read(path))


# Pictures


def overview(dataset: ImageDataset, options: Options) -> np.ndarray:
    """A picture (H, W, 3) uint8 of samples: the enlarged low-resolution image beside the ground truth.

    Shows the first crops of a training set, as a run with these options takes them, or the centres of the first images.
    """
    dataset.cache = 'none'  # building it is left to the run
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
    """One sample, at most `_SIDE` pixels high and twice as wide."""
    lq = _pixels(sample['lq'], dataset)
    if 'gt' not in sample:
        return _middle(lq, _SIDE).cut(lq)
    window = _middle(lq, _SIDE // scale)
    lq, gt = window.cut(lq), window.scaled(scale).cut(_pixels(sample['gt'], dataset))
    enlarged = cv2.resize(lq, gt.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return np.pad(np.hstack([enlarged, gt]), [(0, 4), (0, 4), (0, 0)])


def _pixels(image: Tensor, dataset: ImageDataset) -> np.ndarray:
    """The values of the file: `mean` and `std` undone, luma as grey."""
    for values, back in ((dataset.std, torch.mul), (dataset.mean, torch.add)):
        if values is not None:
            image = back(image, image.new_tensor(values).view(-1, 1, 1))
    return to_uint8(image.expand(3, -1, -1))


def _middle(image: np.ndarray, side: int) -> Window:
    height, width = image.shape[:2]
    return Window(max(0, height - side) // 2, max(0, width - side) // 2, min(side, height), min(side, width))
