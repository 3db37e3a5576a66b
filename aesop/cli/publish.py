"""Write a run as a folder for others: weights, model card, OpenModelDB entry; and upload it to the Hugging Face Hub.

aesop publish experiments/AESOP_RRDB_x4 -o published/AESOP_RRDB_x4 --license apache-2.0
aesop publish experiments/AESOP_RRDB_x4 -o published/AESOP_RRDB_x4 --upload OWNER/REPOSITORY

The folder contains model.safetensors, whose header names the network and its scale, config.json, README.md with the
results and the protocol of `aesop test`, options.yml and the entry for OpenModelDB. Uploading needs
`pip install 'aesop-sr[hub]'` and `hf auth login`.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('run_folder', type=Path, metavar='RUN', help='experiments/NAME')
    parser.add_argument('-o', '--output', type=Path, metavar='FOLDER', help='default: published/NAME')
    parser.add_argument('--weights', type=Path, metavar='FILE', help='default: the newest net_g of the run')
    parser.add_argument('--key', default='params_ema', help='which weights of the file; default: params_ema, if any')
    parser.add_argument('--results', type=Path, metavar='JSON', help='metrics.json; default: results/NAME, if any')
    parser.add_argument('--license', metavar='SPDX', help='licence of the weights, e.g. apache-2.0')
    parser.add_argument('--author')
    parser.add_argument('--upload', metavar='OWNER/REPOSITORY', help='upload the folder to the Hub')
    parser.add_argument('--private', action='store_true', help='create a private repository')


def run(args: argparse.Namespace) -> None:
    from aesop.reporting.publish import publish, read_run
    from aesop.utils.console import say
    from aesop.utils.hub import upload_folder

    this = read_run(args.run_folder, args.weights, args.results)
    folder = args.output or Path('published', this.name)
    for file in publish(this, folder, args.license, args.author, args.key):
        say(str(file))
    if args.upload:
        say(upload_folder(folder, args.upload, args.private))
