"""Data sets and loaders. A data set is a function of position: `dataset[n]` depends on its options and n alone."""

import inspect
from collections.abc import Mapping
from typing import Any

from aesop.data.datasets import augmented, bicubic, degraded, mixed, paired, realesrgan, single, squeezed  # noqa: F401
from aesop.data.datasets.base import ImageDataset
from aesop.data.loader import train_loader, val_loader, waiting_advice
from aesop.options.schema import Dataset as DatasetBlock
from aesop.registry import DATASETS
from aesop.utils.imresize import imresize

IGNORED_KEYS = {'prefetch_mode', 'num_prefetch_queue', 'persistent_workers'}  # of published files
# Keys of a data set's YAML block that are read by whoever makes the loader or validates, not by the data set.
LOADER_KEYS = frozenset(DatasetBlock.model_fields) - {'type', 'name'} | IGNORED_KEYS


def build_dataset(block: Mapping[str, Any], **run: Any) -> ImageDataset:
    """The data set that a YAML block under `datasets` describes; `block` is left unchanged.

    Args:
        block: `{type: ..., **arguments}`; LOADER_KEYS may stand among them.
        run: what the run says for all its data sets, e.g. `scale` and `seed`; used by the types that take them, where
            the block itself does not say otherwise.

    Raises:
        UserError: an unknown type or key, or whatever keeps the data set from being used.
    """
    block = {key: value for key, value in block.items() if key not in LOADER_KEYS}
    if isinstance(block.get('type'), str):
        takes = inspect.signature(DATASETS.get(block['type'])).parameters
        run = {key: value for key, value in run.items() if key in takes}
    return DATASETS.build(block, **run)


__all__ = ['LOADER_KEYS', 'ImageDataset', 'build_dataset', 'imresize', 'train_loader', 'val_loader', 'waiting_advice']
