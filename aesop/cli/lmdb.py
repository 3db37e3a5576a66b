"""Put the images of a folder into an LMDB of BasicSR's layout, for `io_backend: {type: lmdb}`.

A key is an image's name below the folder, without suffix; the value is a PNG of the same pixels. The same command goes
on where it was interrupted.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('folder', type=Path, metavar='FOLDER')
    parser.add_argument('out', type=Path, metavar='OUT.lmdb')
    parser.add_argument('--workers', type=int, help='processes; default: one a core')


def run(args: argparse.Namespace) -> None:
    from aesop.data.preparation.lmdb_writer import create

    create(args.folder, args.out, args.workers)
