"""Download and verify the published weights.

Interrupted downloads are resumed. A file gets its final name only when it is complete, has the published hash (if
known) and can be opened.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('names', nargs='*', metavar='NAME', help='names of weights, see --dry-run; default: all')
    parser.add_argument('--dry-run', action='store_true', help='only print what would be downloaded')


def run(args: argparse.Namespace) -> None:
    from aesop.utils.weights import download

    download(args.names, args.dry_run)
