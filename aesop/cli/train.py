"""Train a network as described by an option file.

aesop train -opt options/train_aesop_rrdb.yml --set train.optim_g.lr=5e-5
torchrun --nproc_per_node=4 -m aesop train -opt options/train_aesop_rrdb.yml --auto_resume

FILE is a path or the name of a packaged recipe.
"""

import argparse

from aesop.cli import runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('-opt', required=True, metavar='FILE', help='option file (YAML)')
    runs.add_arguments(parser)
    parser.add_argument('--auto_resume', action='store_true', help='resume from the newest valid state of this run')
    parser.add_argument('--force', action='store_true', help='resume even if the networks or the scale changed')


def run(args: argparse.Namespace) -> int:
    return runs.start(args, runs.train)
