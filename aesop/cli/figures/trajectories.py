"""Draw L_pix, L_AESOP and the scaled L_pix over a training (the paper's Figure 9).

aesop plot trajectories experiments/LDL_RRDB_x4 experiments/AESOP_RRDB_x4 --smooth 20

A run has the losses that it was trained with: the paper's figure takes a run with 0.01 L1 and one with L_AESOP. Writes
OUT.png, OUT.pdf and OUT.csv.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('runs', nargs='+', type=Path, metavar='RUN', help='folders experiments/<name>')
    parser.add_argument('--smooth', type=int, default=1, metavar='N', help='running mean over N logged values')
    parser.add_argument('-o', '--output', default='figures/trajectories', metavar='OUT')


def run(args: argparse.Namespace) -> None:
    from aesop.utils.console import say

    for path in draw(args):
        say(str(path))


def draw(args: argparse.Namespace) -> list[Path]:
    from aesop.errors import UserError
    from aesop.reporting.trajectories import draw_trajectories, trajectories

    if args.smooth < 1:
        raise UserError(f'--smooth {args.smooth}: name 1 or more logged values')
    if len({run.name for run in args.runs}) < len(args.runs):
        raise UserError('two of the runs have the same name, and the figure tells them apart by it')
    return draw_trajectories({run.name: trajectories(run) for run in args.runs}, args.output, args.smooth)
