"""Images per second of a validation, compared with the sum of its parts, one image at a time.

A part is one operation on all images, with nothing else running: reading the pair, predicting, or one metric.
`validation` is `aesop.evaluation.evaluate`, which performs all of them; `next validation` repeats it with the features
of ground truths that metrics cache, as in a training. Both alternate with the parts, and the scores are compared.
Networks have random weights, since only their time matters.
"""

import argparse
import copy
import statistics
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from aesop.benchmarks import measure
from aesop.benchmarks.data import SCALE, save_pair
from aesop.benchmarks.measure import Row, Table
from aesop.benchmarks.step import photographs
from aesop.data import build_dataset
from aesop.evaluation.evaluate import evaluate
from aesop.metrics import Metric, build_metric
from aesop.models import SRModel, build_model
from aesop.utils import checkpoint
from aesop.utils.images import to_uint8

METRICS: dict[str, dict[str, Any]] = {
    'psnr': {'type': 'PSNR', 'crop_border': 4, 'test_y_channel': True},
    'ssim': {'type': 'SSIM', 'crop_border': 4, 'test_y_channel': True},
    'lpips': {'type': 'LPIPS'},
    'lr_psnr': {'type': 'LRPSNR', 'scale': SCALE},
    'dists': {'type': 'DISTS'},
}
WHOLE = 'validation', 'next validation'
BACKBONES = {'lpips': 'alexnet', 'dists': 'vgg16'}
NETWORKS = {
    'bicubic': {'type': 'Bicubic', 'scale': SCALE},
    'small': {'type': 'RRDBNet', 'num_feat': 32, 'num_block': 4, 'num_grow_ch': 16, 'scale': SCALE},
    'rrdb': {'type': 'RRDBNet', 'num_feat': 64, 'num_block': 23, 'num_grow_ch': 32, 'scale': SCALE},
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--network', choices=NETWORKS, default='small')
    parser.add_argument('--metrics', nargs='+', choices=METRICS, default=['psnr', 'ssim', 'lpips', 'lr_psnr'])
    parser.add_argument('--images', type=int, default=8)
    parser.add_argument('--size', nargs=2, type=int, default=(320, 480), metavar=('H', 'W'))
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')


def run(args: argparse.Namespace) -> None:
    device = torch.device(args.device)
    torch.manual_seed(0)
    model = build_model({'model_type': 'SRModel', 'scale': SCALE, 'network_g': NETWORKS[args.network]}, device)
    with TemporaryDirectory() as folder:
        height, width = args.size
        for n, image in enumerate(photographs(1, args.images, max(height, width), SCALE)[0]['gt']):
            save_pair(Path(folder), f'{n:03}', to_uint8(image[:, :height, :width]))
        roots = {'dataroot_gt': f'{folder}/HR', 'dataroot_lq': f'{folder}/LR'}
        dataset = build_dataset({'type': 'PairedImageDataset', 'name': 'photographs', 'scale': SCALE} | roots)
        metrics = {name: metric(name, Path(folder)).to(device) for name in args.metrics}
        unused = copy.deepcopy(metrics)
        new: dict[str, dict[str, Metric]] = {}
        scores: dict[str, Any] = {}

        def begin() -> None:
            """Copies of the metrics that have seen no image yet."""
            new.update({name: copy.deepcopy(unused) for name in ('parts', WHOLE[0])})

        begin()
        calls = parts(model, dataset, new)
        names = list(calls)
        calls[WHOLE[0]] = lambda: evaluate(model, dataset, new[WHOLE[0]])
        calls[WHOLE[1]] = lambda: scores.update(evaluate(model, dataset, metrics).images)
        timings = measure.interleave(calls, args.rounds, device=device, before=begin)
        difference = largest_difference(model, dataset, new['parts'], scores)

    total = measure.Timing([sum(times) for times in zip(*(timings[name].seconds for name in names))])
    rows = [row(name, timings[name], total, args.images) for name in names]
    rows.append(row('sum of parts', total, total, args.images))
    for name in WHOLE:
        ratio = statistics.median(a / b for a, b in zip(total.seconds, timings[name].seconds))
        rows.append(row(name, timings[name], total, args.images) | {'sum / this': ratio})
    rows[-1]['difference'] = difference
    about = measure.environment(device)
    about |= {'network': args.network, 'images': f'{args.images} of {height}x{width}', 'rounds': args.rounds}
    title, text = measure.title_and_text(__doc__)
    measure.write(args.output, 'validation', args.command, about, title, text, [Table('Parts', rows, TEXT)])


TEXT = (
    'Milliseconds an image: median, and half the distance between the quartiles as a share of it. `sum / this` is the '
    'median over rounds; `difference` is the largest between the scores of the parts and of the next validation.'
)


def row(name: str, timing: measure.Timing, total: measure.Timing, images: int) -> Row:
    return {
        'what': name,
        'ms': 1000 * timing.median / images,
        '+-': timing.spread,
        'share of the sum': timing.median / total.median,
        'images/s': images / timing.median,
    }


def metric(name: str, folder: Path) -> Metric:
    """With random weights of its backbone, so that nothing is downloaded."""
    import torchvision

    block = METRICS[name]
    if name in BACKBONES:
        torch.manual_seed(0)
        features = getattr(torchvision.models, BACKBONES[name])().features.state_dict()
        file = folder / f'{name}.pth'
        checkpoint.save({f'features.{key}': tensor for key, tensor in features.items()}, file)
        block = block | {'backbone_weights': str(file)}
    return build_metric(block)


def parts(model: SRModel, dataset: Any, new: dict[str, dict[str, Metric]]) -> dict[str, Callable[[], object]]:
    """Each part over all images, with the metrics `new['parts']`."""
    images = [one(dataset[n], model) for n in range(len(dataset))]
    results = [model.predict(image)['sr'] for image in images]

    def measured(name: str) -> list[float]:
        return [new['parts'][name](sr=sr, **image).item() for sr, image in zip(results, images)]

    calls: dict[str, Callable[[], object]] = {
        'reading': lambda: [one(dataset[n], model) for n in range(len(dataset))],
        'predicting': lambda: [model.predict(image) for image in images],
    }
    return calls | {name: lambda name=name: measured(name) for name in new['parts']}


def one(sample: dict[str, Any], model: SRModel) -> dict[str, Tensor]:
    return {name: sample[name][None].to(model.device) for name in ('lq', 'gt')}


def largest_difference(
    model: SRModel, dataset: Any, metrics: dict[str, Metric], scores: dict[str, dict[str, float]]
) -> float:
    largest = 0.0
    for n in range(len(dataset)):
        sample = dataset[n]
        image = one(sample, model)
        sr = model.predict(image)['sr']
        for name, metric in metrics.items():
            largest = max(largest, abs(metric(sr=sr, **image).item() - scores[sample['name']][name]))
    return largest
