"""Draws what an auto-encoder keeps of a photograph against what a low-pass filter keeps (the paper's Figures 6 and 19).

python scripts/plot_spectra.py -opt options/train_aesop_rrdb.yml --image HR.png

The option file names the auto-encoder and the scale. The filter is MATLAB's bicubic, down by the scale and up again.
Writes OUT.png, OUT.pdf, and OUT.csv with the mean over each frequency. Exit code 2: something is wrong, said in a
sentence.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from aesop.errors import UserError
from aesop.options import load_options
from aesop.reporting.autoencoder import autoencoder_of
from aesop.reporting.figures import command
from aesop.reporting.spectra import draw_spectra
from aesop.utils.images import read_image, to_tensor


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-opt', required=True, metavar='FILE', help='option file that names the auto-encoder')
    parser.add_argument('--set', nargs='+', action='extend', default=[], metavar='KEY=VALUE', help='overrides options')
    parser.add_argument('--image', required=True, help='a photograph')
    parser.add_argument('-o', '--output', default='figures/spectra', metavar='OUT')
    args = parser.parse_args(arguments)
    return command('plot_spectra.py', lambda: run(args))


def run(args: argparse.Namespace) -> list[Path]:
    gt = to_tensor(read_image(args.image))
    options = load_options(args.opt, args.set)
    height, width = (side // options.scale * options.scale for side in gt.shape[-2:])
    if min(height, width) < 8 * options.scale:
        raise UserError(f'{args.image}: {width}x{height} pixels have no spectrum to speak of; name a larger image')
    return draw_spectra(autoencoder_of(options), gt[:, :height, :width], options.scale, args.output)


if __name__ == '__main__':
    sys.exit(main())
