"""Benchmarks of the framework, one module each, run by name with :func:`run`."""

import argparse
import importlib
import shlex
from collections.abc import Sequence
from pathlib import Path

BENCHMARKS = {
    'all': 'suite',
    'step': 'step',
    'inference': 'inference',
    'upscale': 'upscale',
    'validation': 'validation',
    'training': 'training',
    'data': 'data',
    'loader': 'loader',
    'degradation': 'degradation',
    'start-up': 'startup',
    'batch-size': 'batch_size',
}


def run(name: str, words: Sequence[str]) -> None:
    """A benchmark is a module with `arguments(parser)` and `run(args)`; `words` are its command line."""
    module = importlib.import_module(f'aesop.benchmarks.{BENCHMARKS[name]}')
    parser = argparse.ArgumentParser(
        prog=f'aesop benchmark {name}',
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('-o', '--output', type=Path, default=Path('benchmarks'), metavar='FOLDER')
    module.arguments(parser)
    args = parser.parse_args(words)
    args.command = shlex.join(['aesop', 'benchmark', name, *words])
    module.run(args)
