"""Train a network as an option file says.

aesop train -opt options/train_aesop_rrdb.yml --set train.optim_g.lr=5e-5
torchrun --nproc_per_node=4 -m aesop train -opt options/train_aesop_rrdb.yml --auto_resume

FILE is a path, or the name of a recipe that comes with the package.
"""

import argparse

from aesop.cli import runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('-opt', required=True, metavar='FILE', help='option file (YAML)')
    runs.add_arguments(parser)
    parser.add_argument('--auto_resume', action='store_true', help='go on from the newest good state of this run')
    parser.add_argument('--force', action='store_true', help='resume although the networks or the scale changed')


def run(args: argparse.Namespace) -> int:
    return runs.start(args, runs.train)
