"""Check the data sets of option files before a run.

Reports the content of each data set and, in one list, all problems: missing folders and pairs, wrong sizes, unreadable
files, and training images that are also in a test set. Draws samples as the network sees them.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('-opt', required=True, nargs='+', metavar='FILE', help='option files; their sets are compared')
    parser.add_argument('--set', nargs='+', action='extend', default=[], metavar='KEY=VALUE', help='overrides options')
    parser.add_argument('--full', action='store_true', help='decode every file instead of only the ground truths')
    parser.add_argument('--workers', type=int, help='number of processes; default: one per core')
    parser.add_argument('-o', '--output', type=Path, default=Path('results/check'), help='folder of the pictures')


def run(args: argparse.Namespace) -> None:
    from aesop.data.preparation.check import check
    from aesop.utils.recipes import recipe

    check([recipe(file) for file in args.opt], args.set, args.full, args.workers, args.output)
