"""Perception-distortion curves from interpolated weights of two networks (Figures 4 and 12 to 18 of the paper)."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from aesop.archs import build_network
from aesop.data import ImageDataset
from aesop.errors import UserError, error_context
from aesop.evaluation.evaluate import Metrics, build_metrics, evaluate, metric_blocks, protocols_of
from aesop.evaluation.journal import fingerprint
from aesop.models import SRModel, build_model
from aesop.options import Options, load_options
from aesop.reporting.figures import COLUMN, beside, drawing, look, write_csv, write_figure
from aesop.reporting.labels import axis_label
from aesop.run import preflight
from aesop.run.experiment import describe_run
from aesop.utils.checkpoint import StateDict, find_weights, load_network, network_state_dict
from aesop.utils.download import sha256
from aesop.utils.files import write_text
from aesop.utils.jsonl import json_safe

Made = dict[str, dict[str, Any]]  # by method: what its results depend on
KEYS = ('method', 'alpha', 'dataset')


@dataclass(frozen=True)
class Point:
    """Scores of a network on a dataset; `alpha` is 0 for the PSNR-oriented network and 1 for the perceptual one."""

    method: str
    alpha: float
    dataset: str
    values: dict[str, float]


def interpolate(start: StateDict, end: StateDict, alpha: float) -> StateDict:
    """(1 - alpha) * start + alpha * end, exact at 0 and 1. Integer tensors are taken from `end`."""
    return {
        name: torch.lerp(start[name], tensor, alpha) if tensor.is_floating_point() else tensor
        for name, tensor in end.items()
    }


def weights_of(block: Mapping[str, Any], path: str, key: str) -> StateDict:
    """The weights in a file for the network of an option block, with the parameter names used here."""
    net = build_network(block)
    load_network(net, path, key)
    return network_state_dict(net)


def measure(
    option_file: str,
    overrides: Sequence[str],
    ends: dict[str, tuple[str, str]],
    steps: int,
    device: torch.device,
    done: Callable[[list[Point], Made], None],
    needed: Sequence[str] = (),
    earlier: tuple[Sequence[Point], Made] = ((), {}),
) -> list[Point]:
    """Evaluates the interpolated networks of each method on the datasets and metrics of a test option file.

    Args:
        ends: by method, the weights of the PSNR-oriented and of the perceptual network.
        steps: number of networks per curve, including both ends.
        done: called after each evaluated network with all points so far and what they depend on.
        needed: metrics that the option file must have.
        earlier: points of an interrupted run; reused if weights, options, images and code are the same.

    Raises:
        UserError: something is missing or inconsistent; nothing has been evaluated.
    """
    points: list[Point] = []
    made: Made = {}
    prepared = []
    problems: list[str] = []
    for method, paths in ends.items():
        with error_context(method, problems):
            prepared.append((method, *_prepare(option_file, overrides, paths, needed)))
    if problems:
        raise UserError(problems)
    known = {(point.method, f'{point.alpha:g}', point.dataset): point for point in earlier[0]}
    bar = tqdm(total=steps * len(ends), unit='network', disable=None)
    for method, options, datasets, start, end in prepared:
        model = build_model(options, device)
        missing: dict[str, dict[str, str]] = {}  # logged by `build_metrics`
        metrics = build_metrics(options, datasets, device, missing)
        made[method] = _made(options, datasets, ends[method], metrics, missing, device)
        resumes = earlier[1].get(method, {}).get('evaluation') == made[method]['evaluation']
        for alpha in torch.linspace(0, 1, steps, dtype=torch.float64).tolist():
            keys = [(method, f'{alpha:g}', dataset.name) for dataset in datasets.values()]
            if resumes and all(key in known for key in keys):
                points += [known[key] for key in keys]
            else:
                model.net_g.load_state_dict(interpolate(start, end, alpha), strict=False)  # aliases are missing
                points += _evaluated(model, datasets, metrics, method, alpha)
                done(points, made)
            bar.update()
    bar.close()
    return points


def _evaluated(
    model: SRModel, datasets: dict[str, ImageDataset], metrics: dict[str, Metrics], method: str, alpha: float
) -> Iterator[Point]:
    for key, dataset in datasets.items():
        block = model.options.datasets[key]
        sizes = {'batch_size': block.get('batch_size_per_gpu', 1), 'num_workers': block.get('num_worker_per_gpu', 0)}
        yield Point(method, alpha, dataset.name, evaluate(model, dataset, metrics[key], lenient=True, **sizes).mean)


def _made(
    options: Options,
    datasets: dict[str, ImageDataset],
    paths: tuple[str, str],
    metrics: dict[str, Metrics],
    missing: dict[str, dict[str, str]],
    device: torch.device,
) -> dict[str, Any]:
    """Everything that the points of a curve depend on, with its fingerprint under 'evaluation'."""
    run = describe_run()
    made = {
        'weights': list(paths),
        'weights_sha256': [sha256(find_weights(path)) for path in paths],
        'metrics': {dataset.name: protocols_of(options, key, metrics[key]) for key, dataset in datasets.items()},
        'missing': {dataset.name: missing[key] for key, dataset in datasets.items() if missing[key]},
        'device': torch.cuda.get_device_name(device) if device.type == 'cuda' else 'CPU',
        'commit': run['git']['commit'],
        'packages': run['packages'],
        'options': options.to_dict(),
    }
    return made | {'evaluation': fingerprint(made, [dataset.names for dataset in datasets.values()])}


def _prepare(option_file: str, overrides: Sequence[str], paths: tuple[str, str], needed: Sequence[str]) -> tuple:
    options = load_options(option_file, [*overrides, f'path.pretrain_network_g={paths[0]}', 'val.save_img=false'])
    options.require('test')
    start, end = (weights_of(options.network_g, path, options.path.weights('g')[1]) for path in paths)
    datasets = preflight.prepare(options, ('test', 'val'), Path('results') / options.name)
    measured = dict.fromkeys(name for key in datasets for name in metric_blocks(options, key)[1])
    if missing := [name for name in needed if name not in measured]:
        have = f'available: {", ".join(measured)}. Add it to the file or choose another'
        raise UserError(f'no data set of {option_file} has the metric {", ".join(missing)}; {have}')
    return options, datasets, start, end


def write_points(stem: str | Path, points: Sequence[Point], made: Made | None = None) -> Path:
    """Writes `<stem>.csv`, one row per network and dataset with all metrics, and `<stem>.json`, what they depend on."""
    names = list(dict.fromkeys(name for point in points for name in point.values))
    rows = (
        [p.method, f'{p.alpha:g}', p.dataset, *(f'{p.values[n]:.6g}' if n in p.values else '' for n in names)]
        for p in points
    )
    if made is None:
        return write_csv(stem, (*KEYS, *names), rows)
    about = beside(stem, '.json')
    if about.is_file():  # drop outdated entries first, so that the JSON file is always true for all rows
        before = _read_made(about)
        write_text(about, _json({method: before[method] for method in made if before.get(method) == made[method]}))
    table = write_csv(stem, (*KEYS, *names), rows)
    write_text(about, _json(made))
    return table


def read_earlier(stem: str | Path) -> tuple[list[Point], Made]:
    """Reads what `write_points` has written so far; empty if one of the files does not exist.

    Raises:
        UserError: a file has other contents.
    """
    about = beside(stem, '.json')
    if not (about.is_file() and beside(stem, '.csv').is_file()):
        return [], {}
    return read_points(beside(stem, '.csv')), _read_made(about)


def _read_made(path: Path) -> Made:
    try:
        return {method: dict(entry) for method, entry in json.loads(path.read_text(encoding='utf-8')).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f'{path} does not describe a curve; remove it to start again') from error


def _json(made: Made) -> str:
    return json.dumps(json_safe(made), indent=2) + '\n'


def read_points(path: str | Path) -> list[Point]:
    """Reads a table written by `write_points`.

    Raises:
        UserError: the file is missing or is another table.
    """
    try:
        with open(path, newline='', encoding='utf-8') as file:
            rows = list(csv.DictReader(file))
        points = [
            Point(
                row.pop('method'),
                float(row.pop('alpha')),
                row.pop('dataset'),
                {name: float(value) for name, value in row.items() if value},
            )
            for row in rows
        ]
    except OSError as error:
        raise UserError(f'{path}: this file cannot be read ({error.strerror}); check the path') from error
    except (KeyError, ValueError, TypeError) as error:
        columns = f'columns {", ".join(KEYS)} and metrics'
        raise UserError(f'{path}: this is not a table of `aesop plot pd-curve` with the {columns}') from error
    if not points:
        raise UserError(f'{path}: this table has no rows')
    return points


def draw_pd_curves(
    points: Sequence[Point], x: str, y: str, stem: str | Path, single: Sequence[Point] = ()
) -> list[Path]:
    """Draws a figure per dataset, `<stem>_<dataset>.png` and `.pdf`: each method's curve over metrics `x` and `y`.

    Args:
        single: further networks, each drawn as one marker.

    Raises:
        UserError: no point has both metrics.
    """
    known = list(dict.fromkeys(name for point in points for name in point.values))
    if missing := [name for name in (x, y) if name not in known]:
        raise UserError(f'no point has the metric {", ".join(missing)}; available: {", ".join(known)}')
    written = []
    for dataset in dict.fromkeys(point.dataset for point in points):
        here = [p for p in (*points, *single) if p.dataset == dataset and {x, y} <= p.values.keys()]
        with drawing() as pyplot:
            figure, axis = pyplot.subplots(figsize=(COLUMN, 2.5), layout='constrained')
            for number, method in enumerate(dict.fromkeys(point.method for point in here)):
                curve = sorted((p for p in here if p.method == method), key=lambda p: p.alpha)
                how = look(number) if len(curve) > 1 else look(number) | {'linestyle': ''}
                axis.plot([p.values[x] for p in curve], [p.values[y] for p in curve], label=method, **how)
            axis.set(xlabel=axis_label(x), ylabel=axis_label(y), title=dataset)
            figure.legend(loc='outside lower center', ncols=2)
            written += write_figure(figure, f'{stem}_{dataset}')
    return written
