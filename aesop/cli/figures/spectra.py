"""Draw what an auto-encoder keeps of a photograph against what a low-pass filter keeps (Figures 6 and 19).

aesop plot spectra -opt options/train_aesop_rrdb.yml --image HR.png

The option file names the auto-encoder and the scale. The filter is MATLAB's bicubic, down by the scale and up again.
Writes OUT.png, OUT.pdf, and OUT.csv with the mean over each frequency.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('-opt', required=True, metavar='FILE', help='option file that names the auto-encoder')
    parser.add_argument('--set', nargs='+', action='extend', default=[], metavar='KEY=VALUE', help='overrides options')
    parser.add_argument('--image', required=True, help='a photograph')
    parser.add_argument('-o', '--output', default='figures/spectra', metavar='OUT')


def run(args: argparse.Namespace) -> None:
    from aesop.utils.console import say

    for path in draw(args):
        say(str(path))


def draw(args: argparse.Namespace) -> list[Path]:
    from aesop.errors import UserError
    from aesop.options import load_options
    from aesop.reporting.autoencoder import autoencoder_of
    from aesop.reporting.spectra import draw_spectra
    from aesop.utils.images import read_image, to_tensor
    from aesop.utils.recipes import recipe

    gt = to_tensor(read_image(args.image))
    options = load_options(recipe(args.opt), args.set)
    height, width = (side // options.scale * options.scale for side in gt.shape[-2:])
    if min(height, width) < 8 * options.scale:
        raise UserError(f'{args.image}: {width}x{height} pixels have no spectrum to speak of; name a larger image')
    return draw_spectra(autoencoder_of(options), gt[:, :height, :width], options.scale, args.output)
