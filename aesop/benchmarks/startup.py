"""Time from the start of the process until `aesop train --help` answers and until the first training iteration.

Uses the demo's first option file and its photographs (scikit-image), without compilation. For comparison: the time to
import PyTorch and create an optimiser.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from aesop.benchmarks.data import photographs
from aesop.benchmarks.measure import Table, environment, interleave, write
from aesop.errors import UserError
from aesop.utils.images import save_image
from aesop.utils.recipes import PACKAGE

OPTIONS = 'demo/gan_pix.yml'
PYTORCH = 'import torch; torch.optim.Adam([torch.zeros(1, requires_grad=True)])'
LIMITS = {'help': 0.5, 'first iteration': 5.0}  # seconds that the project wants
TIMEOUT = 300
ENVIRONMENT = os.environ | {'PYTHONPATH': str(PACKAGE.parent)}  # of a checkout that is not installed


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--rounds', type=int, default=7)


def run(args: argparse.Namespace) -> None:
    with TemporaryDirectory() as folder:
        for number, photograph in enumerate(photographs(None)):
            for part in ('train', 'val'):
                save_image(Path(folder) / 'datasets/demo' / part / f'{number}.png', photograph)
        timings = interleave(variants(folder), args.rounds)
    rows = [
        {'what': name, 'median, s': timing.median, 'spread': timing.spread, 'slowest, s': max(timing.seconds)}
        | ({'wanted, s': LIMITS[name]} if name in LIMITS else {})
        for name, timing in timings.items()
    ]
    text = (
        'Seconds from the start of the process, in turn, files in the cache of the system. The first iteration is the '
        f'first log line of `aesop train -opt {OPTIONS}`, its loss included. PyTorch is `{PYTORCH}`: an optimiser '
        "loads PyTorch's compiler too."
    )
    about = environment() | {'rounds': args.rounds}
    write(args.output, 'start-up', args.command, about, 'Start-up', text, [Table('Seconds', rows)])


def variants(folder: str) -> dict[str, Callable[[], object]]:
    """What is measured: name -> a call that lasts as long. `folder` holds the demo's photographs."""
    train = [sys.executable, '-m', 'aesop', 'train']
    first = [*train, '-opt', OPTIONS, '--set', 'logger.print_freq=1', 'num_gpu=0', 'path.pretrain_network_g=~']
    return {
        'help': lambda: until_end([*train, '--help'], folder),
        'first iteration': lambda: until_line('iter 1/', first, folder),
        'PyTorch': lambda: until_end([sys.executable, '-c', PYTORCH], folder),
    }


def until_end(command: list[str], folder: str) -> None:
    """Runs the command in the folder; UserError with its last words where it fails."""
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=TIMEOUT)
    if done.returncode:
        raise UserError(f'{" ".join(command[1:4])} failed: {(done.stderr or done.stdout).strip()[-500:]}')


def until_line(text: str, command: list[str], folder: str) -> None:
    """Runs the command in the folder until a line of its output holds `text`, and ends it; UserError if none does."""
    said: list[str] = []
    streams = {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT, 'text': True}
    with subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, **streams) as process:
        for line in process.stdout or ():
            said.append(line)
            if text in line:
                break
        process.kill()
    if not said or text not in said[-1]:
        raise UserError(f'{" ".join(command[1:4])} ended before its first iteration: {"".join(said)[-500:]}')
