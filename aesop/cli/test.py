"""Evaluate networks on benchmark sets: images, metrics.json, a table.

aesop test -opt options/test_aesop_rrdb.yml
aesop test -opt options/test_aesop_rrdb.yml --weights LDL=ldl.pth AESOP=aesop.pth
"""

import argparse

from aesop.cli import runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('-opt', required=True, nargs='+', metavar='FILE', help='option files (YAML)')
    runs.add_arguments(parser)
    parser.add_argument(
        '--weights',
        nargs='+',
        default=[],
        metavar='NAME=FILE',
        help='networks to evaluate, each as results/NAME',
    )
    parser.add_argument('--resume', action='store_true', help='resume an interrupted run')
    parser.add_argument('--skip-bad', action='store_true', help='skip images that cannot be used')


def run(args: argparse.Namespace) -> int:
    return runs.start(args, runs.test)
