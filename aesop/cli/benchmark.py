"""Measure variants of the same work side by side: training steps, inference, data loading, start-up, batch size.

aesop benchmark all|step|inference|upscale|validation|training|data|loader|degradation|start-up|batch-size [arguments]

`aesop benchmark step --help` lists the arguments of one. Each writes a table and the raw numbers into a folder (-o).
"""

import argparse

from aesop import benchmarks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('benchmark', choices=benchmarks.BENCHMARKS)
    parser.add_argument('rest', nargs=argparse.REMAINDER, metavar='...')


def run(args: argparse.Namespace) -> None:
    benchmarks.run(args.benchmark, args.rest)
