"""Measure the images of any method, with the metrics and result files of `aesop test`.

aesop evaluate IMAGES --gt FOLDER [--lq FOLDER] [--metrics psnr ssim lpips ...] [--name NAME]
aesop evaluate IMAGES --gt FOLDER -opt options/test_aesop_rrdb.yml
aesop evaluate IMAGES --gt FOLDER --protocol ntire

Images are matched to ground truths by name. Methods may add suffixes to it: x4, _SR, -out, the name of the method.
Ambiguous names are an error. Without --gt only no-reference metrics are measured. Writes results/NAME/ (metrics.json,
.csv, .md and the images as PNG).
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('images', type=Path, metavar='IMAGES', help='folder of the images to measure')
    parser.add_argument('--gt', type=Path, metavar='FOLDER', help='ground truths')
    parser.add_argument('--lq', type=Path, metavar='FOLDER', help='low-resolution images, named like the ground truths')
    parser.add_argument('--scale', type=int, default=4, help='upscaling factor; default: 4')
    measured = parser.add_mutually_exclusive_group()
    measured.add_argument('--metrics', nargs='+', metavar='METRIC', help='psnr, ssim, lpips, dists, fid, niqe, ...')
    measured.add_argument('-opt', metavar='FILE', help='option file whose val.metrics are measured')
    measured.add_argument('--protocol', choices=('ntire',), help='the metrics of a challenge: NTIRE, perceptual track')
    parser.add_argument('--name', help='name of the results; default: that of the folder')
    parser.add_argument('--dataset', help='name of the data set; default: that of the folder above the ground truths')
    parser.add_argument('--published', metavar='COLUMN', help="column of the paper to compare with: 'RRDB AESOP 128'")
    parser.add_argument('--skip-bad', action='store_true', help='skip images that cannot be used')


def run(args: argparse.Namespace) -> None:
    from dataclasses import fields

    from aesop.evaluation.folder import Request, measure
    from aesop.run.logs import console
    from aesop.utils.recipes import recipe

    args.opt = args.opt and recipe(args.opt)
    with console(is_main=True):
        measure(Request(**{field.name: getattr(args, field.name) for field in fields(Request)}))
