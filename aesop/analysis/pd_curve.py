"""Perception-distortion curves, by weights between a PSNR-oriented and a perceptual network (Figures 4, 12 to 18)."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from aesop.analysis.figures import COLUMN, drawing, look, write_csv, write_figure
from aesop.analysis.labels import axis_label
from aesop.archs import build_network
from aesop.checkpoint import StateDict, load_network, network_state_dict
from aesop.engine import preflight
from aesop.engine.validation import build_metrics, evaluate, metric_blocks
from aesop.errors import UserError, at
from aesop.models import build_model
from aesop.options import load_options

KEYS = ('method', 'alpha', 'dataset')


@dataclass(frozen=True)
class Point:
    """A method's network on a data set; `alpha` is 0 at the PSNR-oriented end and 1 at the perceptual one."""

    method: str
    alpha: float
    dataset: str
    values: dict[str, float]


def interpolate(start: StateDict, end: StateDict, alpha: float) -> StateDict:
    """(1 - alpha) * start + alpha * end, tensor by tensor; exactly the ends at 0 and 1. Whole numbers are `end`'s."""
    return {
        name: torch.lerp(start[name], tensor, alpha) if tensor.is_floating_point() else tensor
        for name, tensor in end.items()
    }


def weights_of(block: dict, path: str, key: str) -> StateDict:
    """The weights in a file, for the network of an option block, under our names."""
    net = build_network(block)
    load_network(net, path, key)
    return network_state_dict(net)


def measure(
    option_file: str,
    overrides: Sequence[str],
    ends: dict[str, tuple[str, str]],
    steps: int,
    device: torch.device,
    done: Callable[[list[Point]], None],
    needed: Sequence[str] = (),
) -> list[Point]:
    """Evaluates each method's interpolated networks on every data set and metric of a test's option file.

    Args:
        ends: by method, the weights of the PSNR-oriented and of the perceptual network.
        steps: networks on each curve, both ends among them.
        done: is given all points so far, after each network.
        needed: metrics that the option file has to have.

    Raises:
        UserError: something is missing or does not fit; nothing has been measured then.
    """
    points: list[Point] = []
    prepared = []
    problems: list[str] = []
    for method, paths in ends.items():
        with at(method, problems):
            prepared.append((method, *_prepare(option_file, overrides, paths, needed)))
    if problems:
        raise UserError(problems)
    bar = tqdm(total=steps * len(ends), unit='network', disable=None)
    for method, options, datasets, start, end in prepared:
        model = build_model(options, device)
        metrics = build_metrics(options, datasets, device, missing={})  # which is told; the others go on
        for alpha in torch.linspace(0, 1, steps, dtype=torch.float64).tolist():
            model.net_g.load_state_dict(interpolate(start, end, alpha), strict=False)  # aliases come on top
            for key, dataset in datasets.items():
                block = options.datasets[key]
                sizes = {
                    'batch_size': block.get('batch_size_per_gpu', 1),
                    'num_workers': block.get('num_worker_per_gpu', 0),
                }
                result = evaluate(model, dataset, metrics[key], lenient=True, **sizes)
                points.append(Point(method, alpha, dataset.name, result.mean))
            done(points)
            bar.update()
    bar.close()
    return points


def _prepare(option_file: str, overrides: Sequence[str], paths: tuple[str, str], needed: Sequence[str]) -> tuple:
    options = load_options(option_file, [*overrides, f'path.pretrain_network_g={paths[0]}', 'val.save_img=false'])
    options.require('test')
    start, end = (weights_of(options.network_g, path, options.path.param_key_g) for path in paths)
    datasets = preflight.prepare(options, ('test', 'val'), Path('results') / options.name)
    measured = dict.fromkeys(name for key in datasets for name in metric_blocks(options, key)[1])
    if missing := [name for name in needed if name not in measured]:
        have = f'they have {", ".join(measured)}; add it to the file, or name another'
        raise UserError(f'no data set of {option_file} has the metric {", ".join(missing)}; {have}')
    return options, datasets, start, end


def write_points(stem: str | Path, points: Sequence[Point]) -> Path:
    """`<stem>.csv`: a line for each network and data set, with all metrics."""
    names = list(dict.fromkeys(name for point in points for name in point.values))
    rows = (
        [p.method, f'{p.alpha:g}', p.dataset, *(f'{p.values[n]:.6g}' if n in p.values else '' for n in names)]
        for p in points
    )
    return write_csv(stem, (*KEYS, *names), rows)


def read_points(path: str | Path) -> list[Point]:
    """What `write_points` wrote.

    Raises:
        UserError: the file is missing, or another table.
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
        raise UserError(f'{path}: this is no table of plot_pd_curve.py, {", ".join(KEYS)}, and metrics') from error
    if not points:
        raise UserError(f'{path}: this table has no lines')
    return points


def draw_pd_curves(
    points: Sequence[Point], x: str, y: str, stem: str | Path, single: Sequence[Point] = ()
) -> list[Path]:
    """A figure for each data set, `<stem>_<data set>.png` and `.pdf`: every method's curve over metrics `x` and `y`.

    Args:
        single: further networks, drawn as one mark each.

    Raises:
        UserError: no point has both metrics.
    """
    known = list(dict.fromkeys(name for point in points for name in point.values))
    if missing := [name for name in (x, y) if name not in known]:
        raise UserError(f'no point has the metric {", ".join(missing)}; there are {", ".join(known)}')
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
