"""Training samples per second from files to the device: the data loader of a training run, and nothing else.

The images are photographs from scikit-image, in the system's page cache. `pairs` decodes both whole PNGs for each
sample, `cache` reads rows from `cache: disk`, `LR made` makes the LR crop from a cached ground truth, as the recipes
do, `real world` gives crops of 400 pixels and their degradation kernels. Batches are complete: floats on the device. To
keep the device busy, the loader has to be faster than the training step.
"""

import argparse
import itertools
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from aesop.benchmarks import measure
from aesop.benchmarks.data import SCALE, photographs, save_pair
from aesop.benchmarks.measure import Row, Table
from aesop.data import build_dataset
from aesop.data.loader import train_loader

FIRST = 4  # batches before the clock runs: workers start, and caches fill


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--gt_size', type=int, default=128)
    parser.add_argument('--batches', type=int, default=40)
    parser.add_argument('--workers', type=int, nargs='+', default=sorted({0, 2, (os.cpu_count() or 2) // 2}))
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')


def run(args: argparse.Namespace) -> None:
    with TemporaryDirectory() as folder:
        for number, image in enumerate(photographs(None)):
            height, width = (side - side % SCALE for side in image.shape[:2])
            save_pair(Path(folder), f'{number}', image[:height, :width].copy())
        kinds = blocks(Path(folder), args.gt_size)
        rows = [
            measured(name, block, workers, args)
            for workers, (name, block) in itertools.product(args.workers, kinds.items())
        ]
    about = measure.environment(args.device)
    about |= {'device': args.device, 'batch': args.batch, 'gt_size': args.gt_size, 'batches': args.batches}
    title, text = measure.title_and_text(__doc__)
    measure.write(args.output, 'loader', args.command, about, title, text, [Table('Loaders', rows)])


def blocks(folder: Path, gt_size: int) -> dict[str, dict[str, Any]]:
    common = {'dataroot_gt': f'{folder}/HR', 'gt_size': gt_size, 'scale': SCALE, 'cache_dir': f'{folder}/cache'}
    pairs = common | {'type': 'PairedImageDataset', 'dataroot_lq': f'{folder}/LR'}
    crop = max(gt_size, 400 if gt_size > 64 else 0)  # smaller ones are for a trial of the benchmark
    return {
        'pairs': pairs,
        'cache': pairs | {'cache': 'disk'},
        'LR made': common | {'type': 'BicubicImageDataset', 'cache': 'disk'},
        'real world': common | {'type': 'RealESRGANDataset', 'cache': 'disk', 'crop_size': crop},
    }


def measured(name: str, block: dict[str, Any], workers: int, args: argparse.Namespace) -> Row:
    device = torch.device(args.device)
    loader = train_loader(
        build_dataset(block),
        args.batch,
        workers,
        total_iter=FIRST + args.batches,
        pin_memory=device.type == 'cuda',
        device=device,
    )
    batches = iter(loader)
    *_, batch = itertools.islice(batches, FIRST)
    size = sum(value.nbytes for value in batch.values() if isinstance(value, torch.Tensor))
    seconds = measure.timed(lambda: list(itertools.islice(map(len, batches), args.batches)), device)
    return {
        'workers': workers,
        'loader': name,
        'samples/s': args.batch * args.batches / seconds,
        'ms a batch': 1000 * seconds / args.batches,
        'GB/s': size * args.batches / 1e9 / seconds,
    }
