"""Cut images into overlapping squares, which are faster to read than whole images if there is no decode cache.

aesop subimages FOLDER OUT [--crop-size 480] [--step 240] [--thresh-size 0]

The squares of 0001.png are 0001_s001.png, 0001_s002.png, ... row by row, with unchanged pixels. If more than
`thresh-size` pixels are left at the right or bottom, another square is cut flush with that border. For LR images at
1/4: --crop-size 120 --step 60 (and --strip x4 if they are named 0001x4.png). OUT/meta_info.txt lists all squares. The
same command resumes interrupted work.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('folder', type=Path, metavar='FOLDER')
    parser.add_argument('out', type=Path, metavar='OUT')
    parser.add_argument('--crop-size', type=int, default=480, help='side of a square; default: 480')
    parser.add_argument('--step', type=int, default=240, help='pixels from one square to the next; default: 240')
    parser.add_argument('--thresh-size', type=int, default=0, help='border that may be dropped; default: 0')
    parser.add_argument('--strip', default='', help='suffix to remove from the names')
    parser.add_argument('--workers', type=int, help='number of processes; default: one per core')


def run(args: argparse.Namespace) -> None:
    from aesop.data.preparation.subimages import Request, extract

    sizes = args.crop_size, args.step, args.thresh_size
    extract(Request(args.folder, args.out, *sizes, args.strip, args.workers))
