"""Data sets and loaders. `dataset[n]` depends only on the options of the data set and on n."""

import inspect
from collections.abc import Mapping
from typing import Any

from aesop.data.datasets import augmented, bicubic, degraded, mixed, paired, realesrgan, single, squeezed  # noqa: F401
from aesop.data.datasets.base import ImageDataset
from aesop.data.loader import train_loader, val_loader, waiting_advice
from aesop.options.schema import Dataset as DatasetBlock
from aesop.registry import DATASETS
from aesop.utils.imresize import imresize

# Keys of a data set's YAML block that are read by the loader or the evaluation, not by the data set.
LOADER_KEYS = frozenset(DatasetBlock.model_fields) - {'type', 'name'}


def build_dataset(block: Mapping[str, Any], **run: Any) -> ImageDataset:
    """Builds the data set of a YAML block under `datasets`; `block` is left unchanged.

    Args:
        block: `{type: ..., **arguments}`; LOADER_KEYS in it are skipped.
        run: arguments for all data sets of a run, e.g. `scale` and `seed`. They are passed to the types that take them,
            unless the block sets them itself.

    Raises:
        UserError: unknown type or key, or the data set cannot be used.
    """
    block = {key: value for key, value in block.items() if key not in LOADER_KEYS}
    if isinstance(block.get('type'), str):
        takes = inspect.signature(DATASETS.get(block['type'])).parameters
        run = {key: value for key, value in run.items() if key in takes}
    return DATASETS.build(block, **run)


__all__ = ['LOADER_KEYS', 'ImageDataset', 'build_dataset', 'imresize', 'train_loader', 'val_loader', 'waiting_advice']
