"""Download the published weights, and verify them.

A download that was cut short continues where it stopped. A file gets its name only when it is whole, has the published
hash (where one is known) and opens.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('names', nargs='*', metavar='NAME', help='of weights; --dry-run lists them; default: all')
    parser.add_argument('--dry-run', action='store_true', help='say what would be downloaded')


def run(args: argparse.Namespace) -> None:
    from aesop.utils.weights import download

    download(args.names, args.dry_run)
