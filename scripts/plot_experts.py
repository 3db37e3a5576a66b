"""Draws which expert of CAL-GAN's discriminator judges which part of an image.

python scripts/plot_experts.py -opt options/baselines/train_calgan_rrdb.yml --image HR.png \\
    --set path.pretrain_network_d=experiments/CALGAN_RRDB_x4/models/net_d_300000.pth

Writes OUT.png, OUT.pdf, and OUT.csv with the share of each expert. Exit code 2: something is wrong, said in a sentence.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from aesop.errors import UserError
from aesop.options import load_options
from aesop.reporting.experts import draw_experts, router_of
from aesop.reporting.figures import command
from aesop.utils.images import read_image, to_tensor


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-opt', required=True, metavar='FILE', help='option file whose network_d is MOD')
    parser.add_argument('--set', nargs='+', action='extend', default=[], metavar='KEY=VALUE', help='overrides options')
    parser.add_argument('--image', required=True, help='a photograph')
    parser.add_argument('-o', '--output', default='figures/experts', metavar='OUT')
    args = parser.parse_args(arguments)
    return command('plot_experts.py', lambda: run(args))


def run(args: argparse.Namespace) -> list[Path]:
    image = to_tensor(read_image(args.image))
    if min(image.shape[-2:]) < 8:
        height, width = image.shape[-2:]
        raise UserError(f'{args.image}: {width}x{height} pixels are too few to be shared among experts')
    return draw_experts(router_of(load_options(args.opt, args.set)), image, args.output)


if __name__ == '__main__':
    sys.exit(main())
