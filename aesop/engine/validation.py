"""Runs a model over a whole data set: every rank its share, the mean exact over all images."""

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from aesop import distributed
from aesop.data import val_loader
from aesop.errors import at
from aesop.images import save_image
from aesop.metrics import build_metric
from aesop.models import SRModel
from aesop.options import Options

logger = logging.getLogger(__name__)

Metrics = dict[str, Callable[..., Tensor]]


@dataclass
class Evaluation:
    """A data set's values: the mean of each metric, and each image's by name, in the data set's order."""

    mean: dict[str, float]
    images: dict[str, dict[str, float]]


def metric_blocks(options: Options, dataset: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """The key and the content of the `metrics:` block of `datasets.<dataset>`: its own, or else the one under `val`."""
    block = options.datasets[dataset]
    own = 'metrics' in block
    return (f'datasets.{dataset}.metrics', block['metrics']) if own else ('val.metrics', options.val.metrics)


def build_metrics(options: Options, datasets: Iterable[str], device: torch.device) -> dict[str, Metrics]:
    """The metrics of each `datasets.<name>`, by the names the user gave, on `device`; equal ones are built once."""
    built: dict[str, Callable[..., Tensor]] = {}
    metrics: dict[str, Metrics] = {}
    for dataset in datasets:
        place, blocks = metric_blocks(options, dataset)
        content = {name: json.dumps(block, sort_keys=True) for name, block in blocks.items()}
        for name, block in blocks.items():
            if content[name] not in built:
                with at(f'{place}.{name}'):
                    built[content[name]] = build_metric(block).to(device)
        metrics[dataset] = {name: built[key] for name, key in content.items()}
    return metrics


def evaluate(
    model: SRModel,
    dataset: Any,
    metrics: Metrics,
    image_path: Callable[[str], Path] | None = None,
    limit: int | None = None,
) -> Evaluation:
    """Predicts every image of `dataset` and measures it.

    Args:
        metrics: by name, as `build_metrics` returns them for each data set.
        image_path: where to write the prediction of an image, given its name; None writes none.
        limit: stop after this many images (a trial run).
    """
    loader = val_loader(dataset, distributed.rank(), distributed.world_size(), limit=limit)
    results: list[tuple[int, str, dict[str, Tensor]]] = []
    bar = tqdm(loader, desc=dataset.name, unit='image', leave=False, disable=None if distributed.is_main() else True)
    for batch in bar:
        index, name = int(batch['index'][0]), batch['name'][0]
        sr = model.predict(batch[model.condition])
        references = {key: batch[key].to(model.device) for key in ('gt', 'lq') if key in batch}
        gt, lq = references.get('gt'), references.get('lq')
        with at(f'data set {dataset.name}, image {name}'):
            results.append((index, name, {key: metric(sr, gt, lq)[0] for key, metric in metrics.items()}))
        if image_path is not None:
            save_image(image_path(name), sr[0])
    mine = [(index, name, {key: float(value) for key, value in values.items()}) for index, name, values in results]
    everyone = sorted(result for share in distributed.gather(mine) for result in share)
    images = {name: values for _, name, values in everyone}
    if len(images) < len(everyone):
        logger.warning('data set %s has images of the same name; the table shows one of each', dataset.name)
    mean = {key: sum(values[key] for *_, values in everyone) / len(everyone) for key in metrics}
    return Evaluation(mean, images)
