"""Make data sets ready: download, unpack, lay out under datasets/, make the LR images.

aesop prepare --dry-run                                    what there is: size, licence, where from, where to
aesop prepare NAME ... [--scale 4] [--root datasets]
aesop prepare NAME ... --from FOLDER_OR_ARCHIVE ...        (downloads nothing)

The same command continues where it was interrupted, makes again what is missing or damaged, and adds other scales.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('names', nargs='*', metavar='NAME', help='a data set; --dry-run lists all')
    parser.add_argument('--from', nargs='+', type=Path, dest='paths', metavar='PATH', help='folders or archives')
    parser.add_argument('--match', metavar='GLOB', help="which files of --from are the images, e.g. 'Set5_HR/*'")
    parser.add_argument('--scale', nargs='+', type=int, help='of LR images; default: 4 for benchmarks, else none')
    parser.add_argument('--root', type=Path, default=Path('datasets'), help='default: datasets')
    parser.add_argument('--workers', type=int, help='processes; default: one a core')
    parser.add_argument('--dry-run', action='store_true', help='say what would be done; without names: for all sets')


def run(args: argparse.Namespace) -> None:
    from aesop.data.preparation.sets import Request, prepare_all

    prepare_all(Request(args.names, args.paths, args.match, args.scale, args.root, args.workers, args.dry_run))
