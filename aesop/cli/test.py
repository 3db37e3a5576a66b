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
        '--weights', nargs='+', default=[], metavar='NAME=FILE', help='the networks to evaluate, each as results/NAME'
    )
    parser.add_argument('--resume', action='store_true', help='do not repeat what an interrupted run has finished')
    parser.add_argument('--skip-bad', action='store_true', help='leave images out that cannot be used')


def run(args: argparse.Namespace) -> int:
    return runs.start(args, runs.test)
