import csv

import numpy as np
import pytest

from aesop.utils.images import save_image
from tests.commands import command

main = command('plot', 'spectra')

pytestmark = pytest.mark.usefixtures('coarse')


def test_a_figure_of_a_photograph(inputs, capsys):
    assert main(['-opt', 'ae.yml', '--image', 'gt/cat.png', '-o', 'out/spectra']) == 0
    assert capsys.readouterr().out.split() == ['out/spectra.png', 'out/spectra.pdf', 'out/spectra.csv']
    with open('out/spectra.csv') as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert rows[0]['frequency'] < 0.01 < 0.49 < rows[-1]['frequency']
    assert rows[-1]['lpf'] < rows[-1]['hr'] - 1  # nothing is left of the highest frequencies


def test_mistakes_are_told(inputs, capsys):
    save_image('dot.png', np.zeros((16, 90, 3), np.uint8))
    for arguments, words in (
        (['-opt', 'ae.yml', '--image', 'none.png'], 'none.png: file not found'),
        (['-opt', 'ae.yml', '--image', 'dot.png'], 'dot.png: 88x16 pixels have no spectrum to speak of'),
        (['-opt', 'tiny.yml', '--image', 'gt/cat.png'], 'no auto-encoder is named'),
    ):
        assert main(arguments) == 2
        assert words in capsys.readouterr().err
