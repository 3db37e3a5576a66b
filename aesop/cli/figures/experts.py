"""Draw which expert of CAL-GAN's discriminator judges which part of an image.

aesop plot experts -opt options/baselines/train_calgan_rrdb.yml --image HR.png \\
    --set path.pretrain_network_d=experiments/CALGAN_RRDB_x4/models/net_d_300000.pth

The option file names the discriminator, `path.pretrain_network_d` its weights. Writes OUT.png, OUT.pdf, and OUT.csv
with how often each expert was chosen.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('-opt', required=True, metavar='FILE', help='option file whose network_d is MOD')
    parser.add_argument('--set', nargs='+', action='extend', default=[], metavar='KEY=VALUE', help='overrides options')
    parser.add_argument('--image', required=True, help='a photograph')
    parser.add_argument('-o', '--output', default='figures/experts', metavar='OUT')


def run(args: argparse.Namespace) -> None:
    from aesop.utils.console import say

    for path in draw(args):
        say(str(path))


def draw(args: argparse.Namespace) -> list[Path]:
    from aesop.errors import UserError
    from aesop.options import load_options
    from aesop.reporting.experts import draw_experts, router_of
    from aesop.utils.images import read_image, to_tensor
    from aesop.utils.recipes import recipe

    image = to_tensor(read_image(args.image))
    height, width = image.shape[-2:]
    if min(height, width) < 8:
        raise UserError(f'{args.image}: {width}x{height} pixels are too few to be shared among experts')
    return draw_experts(router_of(load_options(recipe(args.opt), args.set)), image, args.output)
