"""What a run needs, looked at before anything is written or trained: all that is missing comes in one list."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aesop.data import build_dataset
from aesop.errors import UserError
from aesop.options import Options

DATA_HELP = 'datasets/README.md says how to get the data sets; another folder is set with --set'
WEIGHTS_HELP = 'experiments/README.md says where to get weights or how to train them'


def prepare(options: Options, modes: tuple[str, ...]) -> dict[str, Any]:
    """The data sets of a run, whose key in `options.datasets` starts with one of `modes`, checked (headers only).

    Raises:
        UserError: every file that is missing and every pair, size or scale that does not fit, in one list.
    """
    problems = [f'{key}: there is no file {path}. {WEIGHTS_HELP}' for key, path in weight_files(options)]
    datasets = {}
    for key, block in options.datasets.items():
        if not key.startswith(modes):
            continue
        place = f'datasets.{key}'
        missing = [
            f'{place}.{root}: there is no folder {block[root]}. {DATA_HELP} {place}.{root}=FOLDER'
            for root in ('dataroot_gt', 'dataroot_lq')
            if block.get(root) is not None and not Path(block[root]).is_dir()
        ]
        problems += missing
        if missing:
            continue
        try:
            dataset = build_dataset(block, scale=options.scale, seed=options.manual_seed, name=key)
            problems += [f'{place}: {problem}' for problem in dataset.check()]
            datasets[key] = dataset
        except UserError as error:
            problems += [f'{place}: {problem}' for problem in error.problems]
    if problems:
        raise UserError(problems)
    return datasets


def weight_files(options: Options) -> Iterator[tuple[str, str]]:
    """(key, path) of every weights file that the options name and that is not there."""
    for key, path in _named_files(options.to_dict(), ''):
        if not Path(path).is_file():
            yield key, path


def _named_files(block: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    for key, value in block.items():
        here = f'{place}{key}'
        if isinstance(value, dict):
            yield from _named_files(value, f'{here}.')
        elif isinstance(value, str) and (
            key.startswith('pretrain_network_') or key == 'resume_state' or here.endswith('autoencoder_load.path')
        ):
            yield here, value
