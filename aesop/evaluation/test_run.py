"""The test run: evaluates a network on benchmark sets and writes images, `metrics.json` and a table."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from aesop import __version__
from aesop.data import ImageDataset
from aesop.errors import DONE, error_context
from aesop.evaluation.evaluate import Evaluation, Metrics, build_metrics, evaluate, protocols_of
from aesop.evaluation.journal import FinishedBatches, fingerprint, forget
from aesop.evaluation.published import find
from aesop.evaluation.results import Report, evaluation_of
from aesop.metrics.metric import weights_sha256
from aesop.models import SRModel, build_model
from aesop.options import Options
from aesop.run import preflight
from aesop.run.experiment import describe_run
from aesop.run.logs import also_to
from aesop.utils import distributed
from aesop.utils.checkpoint import find_weights
from aesop.utils.download import sha256
from aesop.utils.files import write_text

logger = logging.getLogger(__name__)


def test(
    options: Options,
    device: torch.device,
    resume: bool = False,
    skip_bad: bool = False,
    debug: bool = False,
) -> int:
    """Evaluates the network on every `datasets.test*` and `datasets.val*`; returns the exit code.

    Writes `results/<name>/`: images, `metrics.json` with the protocol, `metrics.csv` with every image, `metrics.md`.

    Args:
        resume: reuse the finished batches of an interrupted run with the same weights, images and options.
        skip_bad: leave out images that cannot be used, and list them in the results.

    Raises:
        UserError: something is missing or inconsistent; nothing has been written.
    """
    root = Path('results') / options.name
    if options.published is not None:
        with error_context('published'):
            find(options.published)  # raises an error for unknown names
    datasets = distributed.on_all(lambda: preflight.prepare(options, ('test', 'val'), root, skip_bad=skip_bad))
    model = build_model(options, device)
    if options.path.weights('g')[0] is None and any(True for _ in model.net_g.parameters()):
        logger.warning('path.pretrain_network_g is not set: the weights of network_g are random')
    missing: dict[str, dict[str, str]] = {}
    metrics = build_metrics(options, datasets, device, missing)
    protocols = {dataset.name: protocols_of(options, key, metrics[key]) for key, dataset in datasets.items()}
    made = _made(options, model, device)
    names = {dataset.name: dataset.names for dataset in datasets.values()}
    about = describe_run()
    code = about['git']['commit'], about['packages']
    of = fingerprint(options.to_dict(), made, protocols, missing, names, code, debug)
    made['evaluation'] = of
    if resume and distributed.on_main(lambda: evaluation_of(root) == of):
        logger.info('%s holds the finished results of this evaluation', root)
        if distributed.is_main():
            forget(root)  # still there if the run was killed just before removing it
        return DONE
    with FinishedBatches(root, of, resume) as journal:  # moves earlier results aside, before ranks write images
        if distributed.is_main():
            also_to(root / 'test.log')
        results = {}
        for key, dataset in datasets.items():
            image_path = _image_path(options, root, dataset) if options.val.save_img else None
            about_run = {'limit': 2 if debug else None, 'skip_bad': skip_bad, 'journal': (journal, key)}
            result = _evaluated(model, key, dataset, metrics[key], image_path, **about_run)
            result.missing = missing[key] | result.missing
            results[dataset.name] = result
        if distributed.is_main():
            write_text(root / 'options.yml', options.to_yaml())
            Report(options.name, results, protocols, made, options.published).write(root)
            logger.info('results of %s, in %s:\n%s', options.name, root, (root / 'metrics.md').read_text('utf-8'))
    return DONE


def _evaluated(
    model: SRModel, key: str, dataset: ImageDataset, metrics: Metrics, *args: Any, **kwargs: Any
) -> Evaluation:
    """`evaluate` with the batch size and workers of the dataset's options; logs the images that are left out."""
    for image, reason in dataset.left_out.items():
        logger.warning('data set %s, image %s is left out: %s', dataset.name, image, reason)
    block = model.options.datasets[key]
    sizes = {'batch_size': block.batch_size_per_gpu, 'num_workers': block.num_worker_per_gpu}
    return evaluate(model, dataset, metrics, *args, lenient=True, **sizes, **kwargs)


def _image_path(options: Options, root: Path, dataset: ImageDataset) -> Callable[[str], Path]:
    suffix = options.val.image_suffix(options.name)
    return lambda name: root / 'visualization' / dataset.name / f'{name}{suffix}.png'


def _made(options: Options, model: SRModel, device: torch.device) -> dict[str, Any]:
    """What the results of the run depend on besides the images."""
    path, key, _ = options.path.weights('g')
    weights = find_weights(path) if path else None
    return {
        'weights': path,
        'param_key': key,
        **getattr(model.net_g, 'protocol', {}),
        'weights_sha256': sha256(weights) if weights else None,
        'parameters_sha256': weights_sha256(model.net_g),
        'device': torch.cuda.get_device_name(device) if device.type == 'cuda' else 'CPU',
        'aesop': __version__,
    }
