"""Evaluates a network on benchmark sets: `python test.py -opt options/test_aesop_rrdb.yml`. See the README."""

import sys

from aesop.cli.runs import main

if __name__ == '__main__':
    sys.exit(main('test'))
