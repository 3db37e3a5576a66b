"""Checks everything that a run needs before anything is written; all problems are reported in one list."""

import inspect
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from aesop.archs import build_network
from aesop.archs.backbones import backbone_file, fetch_backbone
from aesop.data import ImageDataset, build_dataset
from aesop.data.datasets.base import capped
from aesop.data.datasets.crops import CropDataset
from aesop.data.datasets.realesrgan import RealESRGANDataset
from aesop.data.preparation.check import describe, shared
from aesop.errors import Unavailable, UserError, error_context
from aesop.models.limits import check_step
from aesop.options import Options
from aesop.options.schema import Metric as MetricBlock
from aesop.registry import LOSSES, METRICS
from aesop.run.logs import muted
from aesop.utils import distributed
from aesop.utils.checkpoint import download_advice, find_weights, load_network

DATA_HELP = 'See datasets/README.md for how to get the data sets; to use another folder: --set'
WEIGHTS_HELP = 'See experiments/README.md for how to get or train weights'
GB = 1e9
_DESCRIBED = 1000  # maximum number of images per set whose sizes and formats are logged

logger = logging.getLogger(__name__)


def prepare(
    options: Options, modes: tuple[str, ...], folder: Path, resume: bool = False, skip_bad: bool = False
) -> dict[str, ImageDataset]:
    """Checks everything a run needs and returns its data sets, whose keys start with one of `modes`.

    Only the first and last bytes of images are read, but weights are read and loaded into the networks, which are built
    for that and for their size.

    Args:
        folder: where the run will write.
        resume: the run may continue in that folder.
        skip_bad: skip unusable whole images, which are listed in the data set's `left_out`.

    Raises:
        UserError: missing or mismatched files, mismatched pairs, sizes or scales, insufficient disk space, all in one
            list.
    """
    problems: list[str] = []
    datasets = {}
    for key in options.datasets:
        if key.startswith(modes):
            with error_context(f'datasets.{key}', problems):
                datasets[key] = _dataset(options, key, skip_bad)
    with muted('aesop.utils.checkpoint'):  # logged when the model loads the weights
        networks = _networks(options, problems)
        for key, block in _blocks(options.to_dict()):
            _check_files(key, block, problems, lenient='train' not in modes)
    state = options.path.resume_state
    if state is not None and not Path(state).is_file():
        problems.append(f'path.resume_state: file {state} not found; correct it, or remove it to start from scratch')
    if 'train' in modes and options.step_memory is not None:
        batch = options.datasets['train'].batch_size_per_gpu
        with error_context('datasets.train.batch_size_per_gpu', problems):
            check_step(*options.step_memory, batch, options.num_gpu != 0 and torch.cuda.is_available())
    with error_context(str(folder), problems):
        needed = _bytes(options, networks) if 'train' in modes and 'g' in networks else (0, '')
        _check_disk(folder, *needed, resume or state is not None)
    if problems:
        raise UserError(problems)
    if distributed.is_main():
        _tell(datasets)
    return datasets


def _tell(datasets: dict[str, ImageDataset]) -> None:
    """Logs the contents of the data sets, and warns if training and test sets share files."""
    known = {key: dataset for key, dataset in datasets.items() if isinstance(dataset, ImageDataset)}
    for key, dataset in known.items():
        logger.info('datasets.%s: %s', key, describe(dataset, _DESCRIBED))
        if 'train' in known and key != 'train' and (both := shared(known['train'], dataset)):
            logger.warning('datasets.train and datasets.%s share %d files, e.g. %s', key, len(both), both[0])


def _dataset(options: Options, key: str, skip_bad: bool) -> ImageDataset:
    try:
        return _checked_dataset(options, key, skip_bad)
    except UserError as error:
        raise UserError(capped(error.problems, '; `aesop check -opt FILE` lists all')) from error


def _checked_dataset(options: Options, key: str, skip_bad: bool) -> ImageDataset:
    block = options.datasets[key]
    roots = {root: block.get(root) for root in ('dataroot_gt', 'dataroot_lq')}
    missing = [
        f'folder {path} not found. {DATA_HELP} datasets.{key}.{root}=FOLDER'
        for root, path in roots.items()
        if path is not None and not Path(path).is_dir()
    ]
    lists = {key: block.get(key) for key in ('meta_info', 'meta_info_file')}
    missing += [
        f'file {path} not found. Set datasets.{key}.{name} to a list of images, or to ~ for all images of the folder'
        for name, path in lists.items()
        if path is not None and not Path(path).is_file()
    ]
    if missing:
        raise UserError(missing)
    whole = {} if key == 'train' else {'on_error': 'skip'}  # reported or skipped with all others
    dataset = build_dataset(block, scale=options.scale, seed=options.manual_seed, name=key, **whole)
    if key == 'train' or not isinstance(dataset, ImageDataset):
        problems = dataset.check()
        if problems and isinstance(dataset, CropDataset) and dataset.tolerates(len(problems)):
            logger.info('datasets.%s: on_error: skip ignores %s', key, '; '.join(capped(problems)))
            problems = []
    elif skip_bad:
        dataset.leave_out_unusable(lambda size: _too_small(options, key, dataset, size))
        problems = dataset.check()
    else:
        alone = [f'{problem}; complete the folders, or see filename_tmpl' for problem in dataset.left_out.values()]
        problems = [*alone, *dataset.check(lambda size: _too_small(options, key, dataset, size))]
    if key != 'train' and isinstance(dataset, RealESRGANDataset):
        problems.append('RealESRGANDataset has no LR images and is for training only; use another type for validation')
    if not dataset.has_gt:
        place, metrics = metric_blocks(options, key)
        needing = [f'{place}.{name}' for name, metric in metrics.items() if 'gt' in METRICS.get(metric.type).needs]
        if 'gt' in (options.model().inputs or ()):
            needing.append(f'model_type {options.model_type}')
        if needing:
            problems.append(f'{block.type} has no ground truth, which is needed by {", ".join(needing)}')
    if problems:
        raise UserError(problems)
    return dataset


def metric_blocks(options: Options, dataset: str) -> tuple[str, dict[str, MetricBlock]]:
    """Key and content of the `metrics:` block of `datasets.<dataset>`: its own, or else the one in `val`."""
    block = options.datasets[dataset]
    own = 'metrics' in block
    return (f'datasets.{dataset}.metrics', block.metrics) if own else ('val.metrics', options.val.metrics)


def _too_small(options: Options, key: str, dataset: ImageDataset, size: tuple[int, int]) -> list[str]:
    """Metrics for which an image of this size (the ground truth's, if any) is too small."""
    lr = min(size) // options.scale if dataset.has_gt else min(size)
    problems = []
    for name, block in metric_blocks(options, key)[1].items():
        metric = METRICS.get(block.type)
        side = lr if 'lq' in getattr(metric, 'needs', ()) else lr * options.scale
        border, least = block.get('crop_border', 0), getattr(metric, 'min_side', 1)
        if side - 2 * border < least:
            cropped = f', without crop_border {border} on each side' if border else ''
            problems.append(f'too small for {name}: {side} pixels{cropped}, but {metric.__name__} needs {least}')
    return problems


def _networks(options: Options, problems: list[str]) -> dict[str, nn.Module]:
    """Builds the networks of the run and loads the weights in `path` into them, as a check."""
    networks = {}
    names = options.model().network_names(dict(options))
    for which in names if options.train else ('g',):
        block = getattr(options, f'network_{which}')
        if block is not None:
            with error_context(f'network_{which}', problems):
                networks[which] = build_network(block)
    parts = dict(networks)
    if 'g' in networks:
        parts |= {part: getattr(networks['g'], part) for part in options.model().parts}
    for which, net in parts.items():
        file, key, strict = options.path.weights(which)
        with error_context(f'path.pretrain_network_{which}', problems):
            _try(net, file, key, strict)
    return networks


def _check_files(place: str, block: dict[str, Any], problems: list[str], lenient: bool) -> None:
    """Checks the weights in the block of a loss or metric.

    Args:
        lenient: ignore missing files of metrics: a test run continues without these metrics.
    """
    passed_over = (Unavailable,) if lenient and 'metrics' in place.split('.') else ()
    load = block.get('autoencoder_load')
    if load:
        with error_context(f'{place}.autoencoder_load.path', problems), suppress(*passed_over):
            _try(build_network(block['autoencoder_arch']), load.get('path'), load.get('key', 'params'))
    for name in ('vgg_weights', 'backbone_weights'):
        if block.get(name, 'imagenet') not in (None, 'imagenet'):
            with error_context(f'{place}.{name}', problems), suppress(*passed_over):
                _require_file(backbone_file(block[name]))
    if place.startswith('train.') and block.get('type') in LOSSES.names():
        parameters = inspect.signature(LOSSES.get(block['type'])).parameters
        if 'vgg_weights' in parameters and block.get('vgg_weights') in (None, 'imagenet'):
            with error_context(f'{place}.vgg_weights', problems):
                fetch_backbone(block.get('vgg_type', getattr(parameters.get('vgg_type'), 'default', 'vgg19')))


def _try(net: nn.Module, path: str | None, key: str, strict: bool = True) -> None:
    if path is not None:
        _require_file(find_weights(path))
        load_network(net, path, key, strict)


def _require_file(path: str | Path) -> None:
    if not Path(path).is_file():
        raise Unavailable(f'file {path} not found. {download_advice(path) or WEIGHTS_HELP}')


def _blocks(block: dict[str, Any], place: str = '') -> Iterator[tuple[str, dict[str, Any]]]:
    """All blocks inside a block, each with its key."""
    for key, value in block.items():
        if isinstance(value, dict):
            yield f'{place}{key}', value
            yield from _blocks(value, f'{place}{key}.')


def _bytes(options: Options, networks: dict[str, nn.Module]) -> tuple[int, str]:
    """Maximum disk space of a run's checkpoints, and how it is composed."""
    size = {which: sum(t.nbytes for t in net.state_dict().values()) for which, net in networks.items()}
    weights = sum(size.values()) + (size['g'] if options.training.ema_decay else 0)
    state = weights + 2 * sum(size.values())  # and Adam's two moments of each tensor
    count = ceil(options.training.total_iter / options.logger.save_checkpoint_freq)
    states = (options.logger.keep_last or count) + 1  # the oldest is removed after the newest is written
    return (count + 1) * weights + states * state, (
        f'{count} times weights of {weights / GB:.3g} GB (every {options.logger.save_checkpoint_freq} iterations), the '
        f'best weights, and {states} states of {state / GB:.3g} GB; raise logger.save_checkpoint_freq, lower '
        'logger.keep_last, or free some space'
    )


def _check_disk(folder: Path, needed: int, why: str, resume: bool) -> None:
    """Args: needed: bytes, minus those already in `folder` if the run continues there."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir():
        raise UserError(f'{existing} is a file, but a folder is needed there: rename it or the run')
    if not os.access(existing, os.W_OK):
        raise UserError(f'no permission to write to {existing}')
    if resume:
        needed -= sum(path.lstat().st_size for path in folder.glob('*/*') if path.suffix in ('.pth', '.state'))
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise UserError(f'{needed / GB:.3g} GB are needed but only {free / GB:.3g} GB are free, for {why}')
