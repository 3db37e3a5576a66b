"""Look at the data sets of option files before a run meets them.

Tells what each set holds and, in one list, all that is wrong: folders, pairs, sizes, files that cannot be read, and
images of a training set that a test set has too. Draws batches as the network sees them.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('-opt', required=True, nargs='+', metavar='FILE', help='option files; their sets are compared')
    parser.add_argument('--set', nargs='+', action='extend', default=[], metavar='KEY=VALUE', help='overrides options')
    parser.add_argument('--full', action='store_true', help='decode every file, not the ground truths alone')
    parser.add_argument('--workers', type=int, help='processes; default: one a core')
    parser.add_argument('-o', '--output', type=Path, default=Path('results/check'), help='folder of the pictures')


def run(args: argparse.Namespace) -> None:
    from aesop.data.preparation.check import check
    from aesop.utils.recipes import recipe

    check([recipe(file) for file in args.opt], args.set, args.full, args.workers, args.output)
