"""Measures variants of the same work side by side, and writes a table and the raw numbers into docs/benchmarks/.

python scripts/benchmark.py step|inference|data|start-up [arguments; --help lists them]

Each is a module in scripts/benchmarks/ with `arguments(parser)` and `run(args)`; measure.py holds what they share.
Exit code 2: something is wrong, said in a sentence.
"""

import argparse
import importlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # so that this file and its tests call the modules by the same names

from aesop.errors import UserError  # noqa: E402

BENCHMARKS = {
    'step': 'step',
    'inference': 'inference',
    'upscale': 'upscale',
    'data': 'data',
    'degradation': 'degradation',
    'start-up': 'startup',
}


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('benchmark', choices=BENCHMARKS)
    parser.add_argument('rest', nargs=argparse.REMAINDER, metavar='...')
    chosen = parser.parse_args(given)
    module = importlib.import_module(f'scripts.benchmarks.{BENCHMARKS[chosen.benchmark]}')

    parser = argparse.ArgumentParser(
        prog=f'benchmark.py {chosen.benchmark}',
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('-o', '--output', type=Path, default=ROOT / 'docs/benchmarks', metavar='FOLDER')
    module.arguments(parser)
    args = parser.parse_args(chosen.rest)
    args.command = shlex.join(['python', 'scripts/benchmark.py', *given])
    try:
        module.run(args)
    except UserError as error:
        for problem in error.problems:
            print(f'benchmark.py: {problem}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
