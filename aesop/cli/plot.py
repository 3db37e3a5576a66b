"""Draw a figure of a paper: loss maps, spectra, trajectories of losses, perception-distortion curves, experts."""

import argparse

from aesop import cli

FIGURES = ('loss-maps', 'spectra', 'trajectories', 'pd-curve', 'experts')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cli.add_commands(parser, {name: f'aesop.cli.figures.{name.replace("-", "_")}' for name in FIGURES}, 'figure')
