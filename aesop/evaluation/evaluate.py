"""Evaluates a model on a dataset; the images are split over the ranks, with the same results as on a single one."""

import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from aesop.archs.autoencoder import AutoEncoder
from aesop.data import val_loader
from aesop.errors import Unavailable, UserError, error_context
from aesop.evaluation.journal import FinishedBatches, Record
from aesop.evaluation.tiling import TiledPrediction, is_out_of_memory, step_of
from aesop.metrics import Metric, build_metric
from aesop.models import SRModel
from aesop.options import Options
from aesop.options.schema import Metric as MetricBlock
from aesop.registry import DATASETS, METRICS
from aesop.run.preflight import metric_blocks
from aesop.utils import distributed
from aesop.utils.images import save_image, to_uint8

logger = logging.getLogger(__name__)

Metrics = dict[str, Metric]
SAVERS = 4  # threads that encode and write images
UNSAVED = 8  # maximum number of batches whose images are not written yet
DIGITS = 10  # significant digits of a score: the last bits of a float64 depend on the memory alignment of an image


@dataclass
class Evaluation:
    """Results for one dataset.

    Attributes:
        mean: the score of each metric over the dataset.
        images: the scores of each image by its name, in the order of the dataset; without metrics over whole sets.
        missing: metrics without a score, and why.
        left_out: images that were not evaluated, and why.
    """

    mean: dict[str, float] = field(default_factory=dict)
    images: dict[str, dict[str, float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def build_metrics(
    options: Options,
    datasets: Iterable[str],
    device: torch.device | str,
    missing: dict[str, dict[str, str]] | None = None,
) -> dict[str, Metrics]:
    """Builds the metrics of each `datasets.<name>` on `device`, by their names in the options; equal ones are shared.

    Args:
        missing: filled with the metrics of each dataset that are not available, and why; if None, raises an error.
    """
    built: dict[str, Metric | Unavailable] = {}
    metrics: dict[str, Metrics] = {}
    for dataset in datasets:
        place, blocks = metric_blocks(options, dataset)
        content = {name: json.dumps(block.plain(), sort_keys=True) for name, block in blocks.items()}
        for name, block in blocks.items():
            if content[name] not in built:
                built[content[name]] = _build(f'{place}.{name}', block, device, missing is not None)
        all_of_them = {name: built[key] for name, key in content.items()}
        metrics[dataset] = {name: one for name, one in all_of_them.items() if isinstance(one, Metric)}
        if missing is not None:
            missing[dataset] = {name: str(one) for name, one in all_of_them.items() if not isinstance(one, Metric)}
    return metrics


def _build(place: str, block: MetricBlock, device: torch.device | str, lenient: bool) -> Metric | Unavailable:
    try:
        with error_context(place):
            try:
                metric = build_metric(block).to(device)
                metric.over = block.over
                return metric
            except ImportError as error:
                raise Unavailable(f'a package that {block["type"]} needs cannot be used: {error}') from error
    except Unavailable as error:
        if not lenient:
            raise
        logger.warning('%s; the metric is missing in the results', error)
        return error


def protocols_of(options: Options, dataset: str, metrics: Metrics) -> dict[str, dict[str, Any]]:
    """The protocol of each metric of `datasets.<dataset>`; only type and direction for those not in `metrics`."""
    protocols = {}
    data = options.datasets[dataset]
    of_data = getattr(DATASETS.get(data.type), 'protocol', lambda block: {})(data)
    for name, block in metric_blocks(options, dataset)[1].items():
        kind = METRICS.get(block['type'])
        better = block.get('better') or ('higher' if kind.higher_is_better else 'lower')
        absent = {'metric': kind.__name__, 'better': better}
        protocols[name] = metrics[name].protocol if name in metrics else absent
        if options.val.solutions > 1 and name in metrics:
            protocols[name] |= solutions_protocol(options.val.solutions, metrics[name])
        protocols[name] |= of_data
        if data.get('color') == 'y':
            protocols[name] |= {'colour': 'Y (BT.601), of the data set'}
    return protocols


def solutions_protocol(count: int, metric: Metric) -> dict[str, Any]:
    """How the scores of several solutions of an image are combined."""
    if 'samples' in metric.needs:
        return {'solutions': count}
    return {'solutions': count, 'over': metric.over if metric.per_image else 'the first'}


class Prediction:
    """`model.predict`, tiled according to `val.tile` and `val.tile_overlap` (in pixels of the LR image).

    Networks that need the whole image (`whole = True`) or take more than one image are not tiled.
    """

    def __init__(self, model: SRModel) -> None:
        self._model, val = model, model.options.val
        net, self._input = model.net_g, model.input_names[0]
        self._whole = getattr(net, 'whole', False)
        if self._whole and val.tile:
            raise UserError(f'val.tile: {type(net).__name__} sees an image as a whole and cannot be tiled; remove it')
        of_lr, scale = 1, model.options.scale
        if isinstance(net, AutoEncoder):  # its input has the size of its output
            of_lr, scale = scale, 1
        tile = val.tile and of_lr * val.tile
        self._tiled = TiledPrediction(model.predict, scale, tile, of_lr * val.tile_overlap, step_of(net))

    def __call__(self, batch: Mapping[str, Any], solutions: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        alone = sum(name in batch for name in self._model.input_names) == 1
        if solutions or self._whole or not alone:
            return self._model.predict(batch, solutions)
        return {'sr': self._tiled(batch[self._input])}


def evaluate(
    model: SRModel,
    dataset: Any,
    metrics: Metrics,
    image_path: Callable[[str], Path] | None = None,
    limit: int | None = None,
    *,
    batch_size: int = 1,
    num_workers: int = 0,
    lenient: bool = False,
    skip_bad: bool = False,
    journal: tuple[FinishedBatches, str] | None = None,
) -> Evaluation:
    """Predicts every image of `dataset` and computes the metrics.

    A batch consists of consecutive images of the same size; batches do not depend on the number of ranks.

    Args:
        model: a model, or any object with `device` and `predict`.
        metrics: by name, as returned by :func:`build_metrics` for each dataset.
        image_path: maps the name of an image to the path of its prediction; None: predictions are not written.
        limit: evaluate only this many images.
        lenient: record metrics that fail as missing instead of raising the error.
        skip_bad: leave out images that cannot be read instead of raising the error.
        journal: where finished batches are recorded, and the name of this dataset there.
    """
    return _Evaluator(model, dataset, metrics, image_path, lenient, journal).run(
        limit, batch_size, num_workers, skip_bad
    )


class _Evaluator:
    """One pass over a dataset on this rank."""

    def __init__(
        self,
        model: SRModel,
        dataset: Any,
        metrics: Metrics,
        image_path: Callable[[str], Path] | None,
        lenient: bool,
        journal: tuple[FinishedBatches, str] | None,
    ) -> None:
        self._model, self._dataset, self._metrics = model, dataset, metrics
        self._image_path, self._lenient = image_path, lenient
        self._journal, self._key = journal or (None, '')
        self._failed: set[str] = set()  # metrics whose traceback has been logged
        self._predict = Prediction(model) if isinstance(model, SRModel) else model.predict
        self._solutions = model.options.val.solutions if isinstance(model, SRModel) else 1

    def run(self, limit: int | None, batch_size: int, num_workers: int, skip_bad: bool) -> Evaluation:
        count = len(self._dataset) if limit is None else min(limit, len(self._dataset))
        starts = range(0, count, batch_size)[distributed.rank() :: distributed.world_size()]
        done = {start: self._read(start) for start in starts}
        todo = {start: range(start, min(start + batch_size, count)) for start in starts if done[start] is None}
        records = [record for batch in done.values() for record in batch or ()]
        images = _Skipping(self._dataset) if skip_bad else self._dataset
        loader = iter(val_loader(images, [n for batch in todo.values() for n in batch], num_workers))
        bar = tqdm(
            total=sum(len(range(start, min(start + batch_size, count))) for start in starts),
            initial=len(records),
            desc=self._dataset.name,
            unit='image',
            leave=False,
            disable=None if distributed.is_main() else True,
        )
        with bar, ThreadPoolExecutor(SAVERS) as self._savers:
            self._unsaved: deque[tuple[int, list[Record], list[Future[None]]]] = deque()
            problems: list[str] = []
            try:
                for start, batch in todo.items():
                    of_batch, saved = self._batch(list(islice(loader, len(batch))))
                    records += of_batch
                    self._unsaved.append((start, of_batch, saved))
                    self._record_finished(UNSAVED)
                    bar.update(len(batch))
                self._record_finished(0)
            except UserError as error:  # raised by all ranks in `_collect`, when all of them have finished
                problems = error.problems
        return self._collect(records, problems)

    def _batch(self, samples: list[dict[str, Any]]) -> tuple[list[Record], list[Future[None]]]:
        """The records of some images, and the futures that write their files."""
        records, saved = [], []
        for group in _of_one_size(samples):
            if 'left_out' in group[0]:
                records.append(_record(group[0]) | {'left_out': group[0]['left_out'][0]})
                continue
            batch = {key: self._stack(group, key) for key, value in group[0].items() if isinstance(value, Tensor)}
            predicted = self._predict(batch, self._inputs(group)) if self._solutions > 1 else self._predict(batch)
            of_group = [_record(sample) for sample in group]
            for name, metric in self._metrics.items():
                self._measure(name, metric, of_group, batch | predicted)
            records += of_group
            if self._image_path is not None:
                images = predicted['samples'] if self._solutions > 1 else predicted['sr'][:, None]
                for record, of_image in zip(of_group, images):
                    for path, image in zip(self._paths(self._image_path, record['name']), of_image):
                        saved.append(self._savers.submit(_write, path, to_uint8(image.expand(3, -1, -1))))
        return records, saved

    def _paths(self, path: Callable[[str], Path], name: str) -> list[Path]:
        """Paths of the prediction, or the solutions, of an image."""
        if self._solutions == 1:
            return [path(name)]
        return [path(f'{name}_sample{k:05d}') for k in range(self._solutions)]

    def _inputs(self, group: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The inputs specific to each solution; they do not depend on the number of ranks or on a resume."""
        indices = [int(sample['index'][0]) for sample in group]
        seed = self._model.options.manual_seed
        inputs = []
        for k in range(self._solutions):
            entries = [self._dataset.solution(n, k) if hasattr(self._dataset, 'solution') else {} for n in indices]
            images = {name: torch.stack([entry[name] for entry in entries]) for name in entries[0]}
            inputs.append(images | {'seeds': [(seed, n, k) for n in indices]})
        return inputs

    def _stack(self, group: list[dict[str, Any]], key: str) -> Tensor:
        return torch.cat([sample[key] for sample in group]).to(self._model.device)

    def _measure(self, name: str, metric: Metric, records: list[Record], quantities: Mapping[str, Any]) -> None:
        """Adds the scores of some images to their records, or the reason why there are none."""
        try:
            scores = self._scores(metric, quantities)
        except Exception as error:  # any error: the other metrics, maybe hours of work, should not be lost
            if not self._lenient:
                with error_context(f'data set {self._dataset.name}, image {records[0]["name"]}'):
                    raise
            for record in records:
                record['problems'][name] = self._reason(name, error)
            return
        for record, score in zip(records, scores):
            if not metric.per_image:
                record['scores'][name] = score.cpu()
            elif torch.isnan(score) and self._lenient:
                record['problems'][name] = 'the score is NaN'
            else:
                record['scores'][name] = float(f'{score:.{DIGITS}g}')

    def _scores(self, metric: Metric, quantities: Mapping[str, Any]) -> list[Tensor]:
        """One score per image: the mean, worst or best over its solutions; metrics over sets use the first solution."""
        if self._solutions == 1 or 'samples' in metric.needs or not metric.per_image:
            return _scores(metric, quantities)
        each = [_scores(metric, {**quantities, 'sr': sr}) for sr in quantities['samples'].unbind(1)]
        of_images = torch.stack([torch.stack(list(scores)) for scores in each])
        largest = (metric.over == 'best') == metric.higher_is_better
        return list(of_images.mean(0) if metric.over == 'mean' else of_images.amax(0) if largest else of_images.amin(0))

    def _reason(self, metric: str, error: Exception) -> str:
        if isinstance(error, UserError):
            return str(error)
        if metric not in self._failed:
            logger.warning('metric %s failed', metric, exc_info=error)
            self._failed.add(metric)
        return f'{type(error).__name__}: {error}'

    def _read(self, start: int) -> list[Record] | None:
        records = self._journal.read(self._key, start) if self._journal else None
        if records and self._image_path is not None:
            names = [record['name'] for record in records if 'left_out' not in record]
            files = [path for name in names for path in self._paths(self._image_path, name)]
            return records if all(path.is_file() for path in files) else None
        return records

    def _record_finished(self, may_wait: int) -> None:
        """Records batches as finished once their images are written; waits while more than `may_wait` are not."""
        while self._unsaved and (
            len(self._unsaved) > may_wait or all(future.done() for future in self._unsaved[0][-1])
        ):
            start, records, saved = self._unsaved.popleft()
            for future in saved:
                try:
                    future.result()
                except UserError as error:
                    if self._journal is not None:
                        raise
                    logger.error('%s; training continues without it', error)  # a full disk is no reason to lose the run
            if self._journal:
                self._journal.write(self._key, start, records)

    def _collect(self, records: list[Record], problems: list[str]) -> Evaluation:
        """Gathers the records and problems on the main rank; all ranks return the same result."""
        shares = distributed.gather((records, problems), everywhere=False)
        return Evaluation(**distributed.on_main(lambda: asdict(self._summarise(shares))))

    def _summarise(self, shares: list[tuple[list[Record], list[str]]]) -> Evaluation:
        if problems := [problem for _, of_rank in shares for problem in of_rank]:
            raise UserError(problems)
        records = [record for of_rank, _ in shares for record in of_rank]
        records = sorted(records, key=lambda record: record['index'])
        left_out = {record['name']: record['left_out'] for record in records if 'left_out' in record}
        result = Evaluation(left_out=left_out | getattr(self._dataset, 'left_out', {}))
        records = [record for record in records if 'left_out' not in record]
        of_image = [name for name, metric in self._metrics.items() if metric.per_image]
        for record in records:
            scores = record['scores']
            result.images[record['name']] = {name: scores[name] for name in of_image if name in scores}
        if len(result.images) < len(records):
            logger.warning('data set %s has images with the same name; the table shows one of them', self._dataset.name)
        for name, metric in self._metrics.items():
            failed = {record['name']: record['problems'][name] for record in records if name in record['problems']}
            try:
                if failed:
                    raise UserError(_shortened(failed))
                if not records:
                    raise UserError('there are no images')
                result.mean[name] = metric.summary([record['scores'][name] for record in records])
            except UserError as error:
                if not self._lenient:
                    raise
                result.missing[name] = str(error)
                logger.warning('data set %s: %s is missing: %s', self._dataset.name, name, error)
        return result


def _write(path: Path, image: np.ndarray) -> None:
    try:
        save_image(path, image)
    except OSError as error:
        with suppress(OSError):
            path.unlink()  # it may be incomplete
        raise UserError(f'{path} could not be written ({error}): check the free space and the permissions') from error


class _Skipping(Dataset):
    """Replaces images that cannot be read by samples with the reason."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __getitem__(self, n: int) -> dict[str, Any]:
        try:
            return self._dataset[n]
        except UserError as error:
            return {'index': n, 'name': self._dataset.names[n], 'left_out': str(error)}


def _record(sample: dict[str, Any]) -> Record:
    """The record of an image; `scores` and `problems` are by metric. Images left out also have `left_out`."""
    return {'index': int(sample['index'][0]), 'name': sample['name'][0], 'scores': {}, 'problems': {}}


def _of_one_size(samples: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Groups samples that can be stacked."""
    groups: dict[Any, list[dict[str, Any]]] = {}
    for n, sample in enumerate(samples):
        shapes = n if 'left_out' in sample else tuple(v.shape for v in sample.values() if isinstance(v, Tensor))
        groups.setdefault(shapes, []).append(sample)
    yield from groups.values()


def _scores(metric: Metric, quantities: Mapping[str, Any]) -> list[Tensor]:
    """The scores of a batch, computed one image at a time if memory runs out."""
    images = {name: quantities[name] for name in ('sr', *metric.needs) if name in quantities}
    count, (height, width) = len(images['sr']), images['sr'].shape[-2:]
    try:
        scores = list(metric(**images))
        if len(scores) != count:
            raise UserError(f'{type(metric).__name__} returned {len(scores)} scores for {count} images')
        return scores
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    torch.cuda.empty_cache()
    if count > 1:
        parts = ({name: image[n : n + 1] for name, image in images.items()} for n in range(count))
        return [score for part in parts for score in _scores(metric, part)]
    raise UserError(f'not enough memory to evaluate an image of {width}x{height} pixels')


def _shortened(failed: dict[str, str]) -> str:
    (first, why), *others = failed.items()
    return f'image {first}: {why}' + (f' (and {len(others)} more images)' if others else '')
