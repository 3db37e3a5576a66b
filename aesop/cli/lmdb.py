"""Put the images of a folder into an LMDB of BasicSR's layout, for `io_backend: {type: lmdb}`.

A key is an image's path relative to the folder, without extension; the value is a PNG of the same pixels. The same
command resumes interrupted work.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('folder', type=Path, metavar='FOLDER')
    parser.add_argument('out', type=Path, metavar='OUT.lmdb')
    parser.add_argument('--workers', type=int, help='number of processes; default: one per core')


def run(args: argparse.Namespace) -> None:
    from aesop.data.preparation.lmdb_writer import create

    create(args.folder, args.out, args.workers)
