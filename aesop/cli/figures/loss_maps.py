"""Draw where L_pix and L_AESOP punish an image (the paper's Figure 3).

aesop plot loss-maps -opt options/train_aesop_rrdb.yml --gt HR.png --sr LDL=ldl.png AESOP=aesop.png

The option file names the auto-encoder: in `aesop_opt`, in an AE-PSNR, or as its `network_g`. Writes OUT.png, OUT.pdf,
and OUT.csv with the maps' values.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('-opt', required=True, metavar='FILE', help='option file that names the auto-encoder')
    parser.add_argument('--set', nargs='+', action='extend', default=[], metavar='KEY=VALUE', help='overrides options')
    parser.add_argument('--gt', required=True, metavar='IMAGE', help='the ground truth')
    parser.add_argument('--sr', required=True, nargs='+', metavar='NAME=IMAGE', help='results, each by its name')
    parser.add_argument('--crop', nargs=3, type=int, metavar=('TOP', 'LEFT', 'SIDE'), help='square that is drawn')
    parser.add_argument('-o', '--output', default='figures/loss_maps', metavar='OUT')


def run(args: argparse.Namespace) -> None:
    from aesop.utils.console import say

    for path in draw(args):
        say(str(path))


def draw(args: argparse.Namespace) -> list[Path]:
    from aesop.errors import UserError, error_context
    from aesop.options import load_options
    from aesop.reporting.autoencoder import autoencoder_of
    from aesop.reporting.loss_maps import busiest_window, draw_loss_maps
    from aesop.utils.images import read_image, to_tensor
    from aesop.utils.recipes import recipe

    problems: list[str] = []
    images = {}
    named = [('HR', args.gt), *((name, path) for name, _, path in (text.rpartition('=') for text in args.sr))]
    for name, path in named:
        with error_context(name or '--sr', problems):
            if not name or name in images:
                raise UserError(f'{path} needs a name of its own: NAME=IMAGE')
            images[name] = to_tensor(read_image(path))
    gt = images.get('HR')
    for name, image in images.items():
        if gt is not None and image.shape != gt.shape:
            sizes = [f'{shape[-1]}x{shape[-2]}' for shape in (image.shape, gt.shape)]
            problems.append(f'{name} is an image of {sizes[0]} pixels, and the ground truth of {sizes[1]}')
    if problems or gt is None:
        raise UserError(problems)
    if args.crop:
        top, left, side = window = tuple(args.crop)
        if min(top, left) < 0 or side < 1 or top + side > gt.shape[-2] or left + side > gt.shape[-1]:
            raise UserError(f'--crop {top} {left} {side} leaves the image of {gt.shape[-1]}x{gt.shape[-2]} pixels')
    else:
        window = busiest_window(gt, 160)
    ae = autoencoder_of(load_options(recipe(args.opt), args.set))
    return draw_loss_maps(ae, images.pop('HR'), images, window, args.output)
