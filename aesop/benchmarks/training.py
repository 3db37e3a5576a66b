"""A minute of training that is stopped and resumed, compared bit for bit with an uninterrupted one.

Trains the demo's AESOP recipe on photographs from scikit-image with the complete loop of `aesop train`: loader, step,
EMA, logs, validation, states. `interrupted` gets SIGUSR1 after a quarter of the time, saves, and continues with
`--auto_resume` in another process to twice the iteration at which it was stopped; `left alone` runs to that iteration
without interruption. If their results differ, which may happen on a GPU because of non-deterministic convolutions,
`again` repeats `left alone` to show how much two uninterrupted runs differ.
"""

import argparse
import json
import os
import signal
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from aesop.benchmarks import measure
from aesop.benchmarks.data import photographs
from aesop.benchmarks.measure import Row, Table
from aesop.errors import STOPPED, UserError
from aesop.options import load_options
from aesop.training.loop import train
from aesop.utils import checkpoint
from aesop.utils.images import save_image
from aesop.utils.recipes import PACKAGE, recipe

MANY = 1_000_000  # iterations: the interrupted run does not end by itself
COMMON = (
    'logger.print_freq=1',
    'logger.use_tb_logger=false',
    f'path.pretrain_network_g={PACKAGE}/weights/psnr_x4.safetensors',
    f'train.aesop_opt.autoencoder_load.path={PACKAGE}/weights/aesop_ae_x4.safetensors',
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--set', nargs='+', default=[], metavar='KEY=VALUE', help='overrides options')
    parser.add_argument('--seconds', type=float, default=60, help='of training, start-up left out; default: 60')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')


def run(args: argparse.Namespace) -> None:
    file = str(recipe('demo/gan_aesop.yml'))
    with TemporaryDirectory() as name:
        folder = Path(name)
        first, *others = photographs(None)
        save_image(folder / 'datasets/demo/val/0.png', first[:256, :256].copy())
        for number, image in enumerate(others):
            save_image(folder / 'datasets/demo/train' / f'{number}.png', image)

        def sets(run: str, total: int) -> list[str]:
            return [*COMMON, *args.set, f'name={run}', f'train.total_iter={total}']

        stopped = interrupted(folder, file, sets('interrupted', MANY), args)
        rows: list[Row] = []
        for variant in ('left alone', 'interrupted', 'again'):
            run = variant.replace(' ', '_')
            call = (training, folder, file, sets(run, 2 * stopped), args.device)
            (code, seconds), peak = measure.in_own_process(*call)
            if code:
                raise UserError(f'the training "{variant}" ended with exit code {code}')
            of_first, of_this = (weights(folder, name, 2 * stopped) for name in ('left_alone', run))
            row = {'run': variant, 'iterations': 2 * stopped, 'seconds': seconds, 'peak GB': peak / 1e9}
            if variant != 'left alone':
                row['same bits'] = 'yes' if all(torch.equal(of_first[key], of_this[key]) for key in of_first) else 'no'
                row['difference'] = max((of_first[key] - of_this[key]).abs().max().item() for key in of_first)
            rows.append(row)
            if row.get('same bits') == 'yes':
                break
    count = load_options(file, args.set).datasets['train']['batch_size_per_gpu']
    rows[0]['samples/s'] = count * 2 * stopped / rows[0]['seconds']
    about = measure.environment(args.device) | {'stopped at': stopped}
    title, text = measure.title_and_text(__doc__)
    measure.write(args.output, 'training', args.command, about, title, text, [Table('Runs', rows, TEXT)])


TEXT = (
    'Seconds of a whole run, for `interrupted` those after it was stopped; building the networks and the last '
    'validation are in them. `difference` is the largest of any weight of the generator and its average from '
    '`left alone`.'
)


def training(folder: Path, file: str, overrides: list[str], device: str) -> tuple[int, float]:
    """Exit code and seconds of `aesop train --auto_resume` in a folder."""
    os.chdir(folder)
    start = time.perf_counter()
    return train(load_options(file, overrides), torch.device(device), auto_resume=True), time.perf_counter() - start


def interrupted(folder: Path, file: str, overrides: list[str], args: argparse.Namespace) -> int:
    """The iteration at which a run was stopped, a quarter of the time after its first one."""
    child = measure.own_processes().Process(target=_exit_with_code, args=(folder, file, overrides, args.device))
    child.start()
    log = folder / 'experiments/interrupted/train.jsonl'
    while child.is_alive() and not (log.exists() and log.read_text().endswith('\n')):
        time.sleep(0.02)
    child.join(args.seconds / 4)
    if child.is_alive():
        os.kill(child.pid, signal.SIGUSR1)
    child.join()
    if child.exitcode != STOPPED:
        raise UserError(f'the training ended with exit code {child.exitcode} before it was stopped')
    return json.loads(log.read_text().splitlines()[-1])['iter']


def _exit_with_code(*call: Any) -> None:
    raise SystemExit(training(*call)[0])


def weights(folder: Path, run: str, iteration: int) -> dict[str, Tensor]:
    """Of the generator and its average, as saved."""
    saved = checkpoint.load(folder / 'experiments' / run / 'models' / f'net_g_{iteration}.pth')
    return {f'{part}.{name}': tensor for part, state in saved.items() for name, tensor in state.items()}
