"""The test run: benchmark sets -> images, `metrics.json`, a table."""

import csv
import json
import logging
from pathlib import Path
from typing import Any

import torch

from aesop import __version__, distributed
from aesop.engine import preflight
from aesop.engine.cli import DONE
from aesop.engine.experiment import describe_run, move_aside
from aesop.engine.logs import also_to
from aesop.engine.validation import Evaluation, Metrics, build_metrics, evaluate
from aesop.models import build_model
from aesop.options import Options

logger = logging.getLogger(__name__)


def test(options: Options, device: torch.device, debug: bool = False) -> int:
    """Evaluates the network on every `datasets.test*` and `datasets.val*`; returns the exit code.

    Writes `results/<name>/`: images, `metrics.json` with the protocol, `metrics.csv` with every image, `metrics.md`.

    Raises:
        UserError: something is missing or does not fit; nothing has been written then.
    """
    root = Path('results') / options.name
    datasets = preflight.prepare(options, ('test', 'val'), root)
    model = build_model(options, device)
    if options.path.pretrain_network_g is None and any(True for _ in model.net_g.parameters()):
        logger.warning('path.pretrain_network_g is not set: the weights of network_g are random')
    metrics = build_metrics(options, datasets, device)
    aside = distributed.on_main(lambda: move_aside(root))  # before any rank writes an image
    if distributed.is_main():
        also_to(root / 'test.log')
        if aside:
            logger.info('the earlier results are now in %s', aside)
    suffix = f'_{options.val.suffix}' if options.val.suffix else ''
    results = {}
    for key, dataset in datasets.items():

        def image_path(name: str, dataset: Any = dataset) -> Path:
            return root / 'visualization' / dataset.name / f'{name}{suffix}.png'

        path = image_path if options.val.save_img else None
        results[dataset.name] = evaluate(model, dataset, metrics[key], path, limit=2 if debug else None)
    if distributed.is_main():
        protocols = {dataset.name: metrics[key] for key, dataset in datasets.items()}
        write_report(root, options, results, protocols)
        logger.info('results of %s, in %s:\n%s', options.name, root, (root / 'metrics.md').read_text())
    return DONE


def write_report(root: Path, options: Options, results: dict[str, Evaluation], metrics: dict[str, Metrics]) -> None:
    """`metrics.json`, `metrics.csv`, `metrics.md` and `options.yml` under `root`."""
    protocol = {
        'weights': options.path.pretrain_network_g,
        'param_key': options.path.param_key_g,
        'metrics': {
            dataset: {name: metric.protocol for name, metric in used.items()} for dataset, used in metrics.items()
        },
        'aesop': __version__,
        **describe_run(),
    }
    report = {'name': options.name, 'datasets': {key: value.mean for key, value in results.items()}}
    report |= {'images': {key: value.images for key, value in results.items()}, 'protocol': protocol}
    (root / 'metrics.json').write_text(json.dumps(report, indent=2) + '\n')
    (root / 'options.yml').write_text(options.to_yaml())
    names = list(dict.fromkeys(name for result in results.values() for name in result.mean))
    with open(root / 'metrics.csv', 'w', newline='') as file:
        table = csv.writer(file)
        table.writerow(['dataset', 'image', *names])
        for dataset, result in results.items():
            for image, values in [*result.images.items(), ('mean', result.mean)]:
                table.writerow([dataset, image, *(values.get(name, '') for name in names)])
    lines = [f'| {" | ".join(["data set", "images", *names])} |', '|---|---|' + '---|' * len(names)]
    for dataset, result in results.items():
        cells = [f'{result.mean[name]:.4f}' if name in result.mean else '-' for name in names]
        lines.append(f'| {" | ".join([dataset, str(len(result.images)), *cells])} |')
    (root / 'metrics.md').write_text('\n'.join(lines) + '\n')
