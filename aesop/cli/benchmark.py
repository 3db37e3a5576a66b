"""Measure variants of the same work side by side: training steps, inference, data loading, start-up, batch size.

aesop benchmark all|step|inference|upscale|data|degradation|start-up|batch-size [arguments]

`aesop benchmark step --help` lists the arguments of one. All but batch-size write a table and the raw numbers into the
folder OUTPUT.
"""

import argparse
import importlib
import shlex
from pathlib import Path

BENCHMARKS = {
    'all': 'suite',
    'step': 'step',
    'inference': 'inference',
    'upscale': 'upscale',
    'data': 'data',
    'degradation': 'degradation',
    'start-up': 'startup',
    'batch-size': 'batch_size',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('benchmark', choices=BENCHMARKS)
    parser.add_argument('rest', nargs=argparse.REMAINDER, metavar='...')


def run(args: argparse.Namespace) -> None:
    """A benchmark is a module of `aesop.benchmarks` with `arguments(parser)` and `run(args)`."""
    module = importlib.import_module(f'aesop.benchmarks.{BENCHMARKS[args.benchmark]}')
    parser = argparse.ArgumentParser(
        prog=f'aesop benchmark {args.benchmark}',
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('-o', '--output', type=Path, default=Path('benchmarks'), metavar='FOLDER')
    module.arguments(parser)
    chosen = parser.parse_args(args.rest)
    chosen.command = shlex.join(['aesop', 'benchmark', args.benchmark, *args.rest])
    module.run(chosen)
