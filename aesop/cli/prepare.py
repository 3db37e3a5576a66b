"""Prepare data sets: download and unpack them into datasets/, make the LR images.

aesop prepare --dry-run                                    lists the data sets: size, licence, source, target
aesop prepare NAME ... [--scale 4] [--root datasets]
aesop prepare NAME ... --from FOLDER_OR_ARCHIVE ...        (downloads nothing)

The same command resumes interrupted work, replaces missing or damaged files, and adds further scales.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('names', nargs='*', metavar='NAME', help='data set; --dry-run lists all')
    parser.add_argument('--from', nargs='+', type=Path, dest='paths', metavar='PATH', help='folders or archives')
    parser.add_argument('--match', metavar='GLOB', help="the images in --from, e.g. 'Set5_HR/*'")
    parser.add_argument('--scale', nargs='+', type=int, help='LR scales; default: 4 for benchmarks, else none')
    parser.add_argument('--root', type=Path, default=Path('datasets'), help='default: datasets')
    parser.add_argument('--workers', type=int, help='number of processes; default: one per core')
    parser.add_argument('--dry-run', action='store_true', help='only print what would be done, by default for all')


def run(args: argparse.Namespace) -> None:
    from aesop.data.preparation.sets import Request, prepare_all

    prepare_all(Request(args.names, args.paths, args.match, args.scale, args.root, args.workers, args.dry_run))
