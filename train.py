"""Trains a network: `python train.py -opt options/train_aesop_rrdb.yml`. See the README."""

import sys

from aesop.cli.runs import main

if __name__ == '__main__':
    sys.exit(main('train'))
