"""How long after the start of the process `train.py --help` answers, and training reaches its first iteration.

On the demo's first option file and its photographs (scikit-image), without compilation, beside what PyTorch alone takes
to load and to make an optimiser.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from aesop.errors import UserError
from scripts.benchmarks.measure import Table, environment, interleave, write

ROOT = Path(__file__).parents[2]
OPTIONS = 'options/demo/psnr.yml'
PHOTOGRAPHS = 'import sys; from scripts.demo import prepare; prepare(None)'
PYTORCH = 'import torch; torch.optim.Adam([torch.zeros(1, requires_grad=True)])'
LIMITS = {'help': 0.5, 'first iteration': 5.0}  # seconds that the project wants
TIMEOUT = 300


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--rounds', type=int, default=7)


def run(args: argparse.Namespace) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / 'options').symlink_to(ROOT / 'options')
        until_end([sys.executable, '-c', PHOTOGRAPHS], folder)
        timings = interleave(variants(folder), args.rounds)
    rows = [
        {'what': name, 'median, s': timing.median, 'spread': timing.spread, 'slowest, s': max(timing.seconds)}
        | ({'wanted, s': LIMITS[name]} if name in LIMITS else {})
        for name, timing in timings.items()
    ]
    text = (
        'Seconds from the start of the process, in turn, files in the cache of the system. The first iteration is the '
        f'first log line of `train.py -opt {OPTIONS}`, its loss included. PyTorch is `{PYTORCH}`: an optimiser loads '
        "PyTorch's compiler too."
    )
    about = environment() | {'rounds': args.rounds}
    write(args.output, 'start-up', args.command, about, 'Start-up', text, [Table('Seconds', rows)])


def variants(folder: str) -> dict[str, Callable[[], object]]:
    """What is measured: name -> a call that lasts as long. `folder` holds the demo's photographs."""
    train = [sys.executable, str(ROOT / 'train.py')]
    first = [*train, '-opt', OPTIONS, '--set', 'logger.print_freq=1', 'num_gpu=0']
    return {
        'help': lambda: until_end([*train, '--help'], folder),
        'first iteration': lambda: until_line('iter 1/', first, folder),
        'PyTorch': lambda: until_end([sys.executable, '-c', PYTORCH], folder),
    }


def until_end(command: list[str], folder: str) -> None:
    """Runs the command in the folder; UserError with its last words where it fails."""
    environment = os.environ | {'PYTHONPATH': str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT)
    if done.returncode:
        raise UserError(f'{command[1]} failed: {(done.stderr or done.stdout).strip()[-500:]}')


def until_line(text: str, command: list[str], folder: str) -> None:
    """Runs the command in the folder until a line of its output holds `text`, and ends it; UserError if none does."""
    said: list[str] = []
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            said.append(line)
            if text in line:
                break
        process.kill()
    if not said or text not in said[-1]:
        raise UserError(f'{command[1]} ended before its first iteration: {"".join(said)[-500:]}')
