"""Finds the largest batch that fits into memory, with real training steps on random images; no data or weights needed.

aesop benchmark batch-size -opt FILE [--set KEY=VALUE ...] [--variant KEY=VALUE ...] [--limit-gb N]

The batch size is doubled until it does not fit, then bisected; each size runs in a separate process. On a GPU, the
limit is what PyTorch can allocate; on the CPU, the resident memory of the process. Images have the size used in
training; the degradation of real-world training, which runs before a step, is not included. Each `--variant` is
measured in addition to the options as given, e.g. `--variant runtime.precision=bf16 --variant
network_g.use_checkpoint=true`.
"""

import argparse
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from aesop.benchmarks import measure
from aesop.benchmarks.lifelike import vgg_state
from aesop.benchmarks.measure import Row, Table, in_own_process, peak_rss, timed
from aesop.evaluation.tiling import is_out_of_memory
from aesop.models import build_model
from aesop.options import Options, load_options
from aesop.run.logs import muted
from aesop.utils import checkpoint
from aesop.utils.devices import find_device
from aesop.utils.recipes import recipe

GB = 1e9
STEPS = 3  # optimisers get their memory at the end of the first, so the second has the peak
WATCH = 0.01  # seconds between two looks at the memory


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('-opt', required=True, metavar='FILE', help='option file of a training run')
    parser.add_argument('--set', nargs='+', action='extend', default=[], metavar='KEY=VALUE', help='overrides options')
    parser.add_argument('--variant', nargs='+', action='append', default=[], metavar='KEY=VALUE')
    parser.add_argument('--limit-gb', type=float, metavar='N', help='default: what is free on the device now')
    parser.add_argument('--most', type=int, default=512, metavar='N', help='no larger batch is tried; default: 512')
    parser.add_argument('--device', help='default: the GPU, if there is one')


def run(args: argparse.Namespace) -> None:
    args.opt, args.device = str(recipe(args.opt)), str(find_device(args.device))
    tables = []
    with TemporaryDirectory() as folder:
        for variant in ([], *args.variant):
            overrides = untrained(args.opt, [*args.set, *variant], Path(folder))
            tables.append(table(args, overrides, ' '.join(variant) or 'the options as they are'))
    about = measure.environment(args.device) | {'device': args.device, 'options': Path(args.opt).name}
    title, text = measure.title_and_text(__doc__)
    text = text.partition('\n\n')[2].strip()  # without the command line, which stands below
    measure.write(args.output, 'batch-size', args.command, about, title.partition('.')[0], text, tables)


def table(args: argparse.Namespace, overrides: list[str], title: str) -> Table:
    """What each batch takes that was tried, and the batch that this advises."""
    limit = args.limit_gb * GB if args.limit_gb else free_memory(args.device)
    rows: dict[int, Row] = {}

    def fits(batch: int) -> bool:
        row = tried(args.opt, overrides, batch, args.device, limit)
        rows[batch] = {'batch': batch} | (row or {'peak GB': 'does not fit'})
        sys.stderr.write(f'{title}: batch {batch}: {"fits" if row else "does not fit"}\n')
        return row is not None

    best = largest(fits, args.most)
    advice = f'datasets.train.batch_size_per_gpu: {best}' if best else TOO_LITTLE
    text = f'At most {limit / GB:.3g} GB. {advice}'
    return Table(title, [rows[batch] for batch in sorted(rows)], text)


TOO_LITTLE = 'Not even a batch of 1 fits: try network_g.use_checkpoint, runtime.precision or a smaller gt_size.'


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` that fits, 0 if none does: doubling, then bisecting."""
    good, bad = 0, 1
    while bad <= most and fits(bad):
        good, bad = bad, 2 * bad
    bad = min(bad, most + 1)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def untrained(file: str, overrides: list[str], folder: Path) -> list[str]:
    """`overrides`, and those by which the training needs no weights: networks stay random, as does VGG."""
    options = load_options(file, overrides)
    options.require('train')
    starts = [key for key in type(options.path).model_fields if key.startswith('pretrain_network_')]
    more = [f'path.{key}=~' for key in (*starts, 'resume_state')]
    blocks = {name: getattr(options.train, name) for name in ('pixel_opt', 'perceptual_opt', 'aesop_opt')}
    for name, block in (blocks | {f'losses.{k}': b for k, b in options.training.losses.items()}).items():
        if block and 'autoencoder_load' in block:
            more.append(f'train.{name}.autoencoder_load=~')
        if block and block['type'] == 'PerceptualLoss':
            more.append(f'train.{name}.vgg_weights={folder}/vgg19.pth')
            checkpoint.save(vgg_state(), folder / 'vgg19.pth')
    return [*overrides, *more]


def tried(file: str, overrides: list[str], batch: int, device: str, limit: float) -> Row | None:
    """What a batch of that size takes, None where it does not fit."""
    try:
        measured, _ = in_own_process(steps, file, overrides, batch, device, limit)
    except BrokenProcessPool:  # it ended itself, or the system ended it
        return None
    if measured is None:
        return None
    seconds, peak = measured
    return {'peak GB': peak / GB, 's / iteration': seconds, 'samples / s': batch / seconds}


def steps(file: str, overrides: list[str], batch: int, device: str, limit: float) -> tuple[float, int] | None:
    """Seconds of a training step, and the peak memory in bytes; None where a GPU has less. On the CPU it ends there."""
    on_gpu = torch.device(device).type == 'cuda'
    if on_gpu:
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit / torch.cuda.mem_get_info(device)[1]), device)
    else:
        threading.Thread(target=end_above, args=(limit,), daemon=True).start()
    try:
        with muted('aesop.models.precision'):
            options = load_options(file, overrides)
            model = build_model(options, device)
        train = options.training
        every = getattr(train, 'net_d_iters', 1)
        iteration = -(-train.total_iter // every) * every  # when all is trained
        images = random_batch(options, batch * train.accumulate)
        times = [timed(lambda: model.step(images, iteration), device) for _ in range(STEPS)]
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return None
    return statistics.median(times[1:]), torch.cuda.max_memory_reserved(device) if on_gpu else peak_rss()


def end_above(limit: float) -> None:
    while peak_rss() <= limit:
        time.sleep(WATCH)
    os._exit(1)


def random_batch(options: Options, count: int) -> dict[str, Tensor]:
    """Images as a step of these options takes them."""
    side = options.gt_size or options.datasets['train']['gt_size']
    low = side // options.scale
    sides = {'lq': low, 'gt': side} | ({'gt_usm': side} if options.gt_size else {})
    return {name: torch.rand(count, 3, side, side) for name, side in sides.items()}


def free_memory(device: str) -> float:
    """Bytes."""
    if torch.device(device).type == 'cuda':
        return torch.cuda.mem_get_info(device)[0]
    page = os.sysconf('SC_PAGE_SIZE')
    meminfo = Path('/proc/meminfo')
    if meminfo.exists():
        available = next(line for line in meminfo.read_text().splitlines() if line.startswith('MemAvailable'))
        return 0.9 * 1024 * int(available.split()[1])
    return 0.5 * page * os.sysconf('SC_PHYS_PAGES')
