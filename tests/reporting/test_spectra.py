import csv

import pytest
import torch
from torch import nn

from aesop.reporting.spectra import draw_spectra, log_spectrum, low_pass, radial_profile

pytestmark = pytest.mark.usefixtures('coarse')


def wave(frequency, side=64):
    """(3, side, side): stripes along x of so many cycles a pixel."""
    return (0.5 + 0.4 * torch.cos(2 * torch.pi * frequency * torch.arange(side))).expand(3, side, side)


def test_a_wave_is_found_at_its_frequency():
    spectrum = log_spectrum(wave(0.25))
    row, column = divmod(int(spectrum.argmax()), 64)
    assert (row, column) in ((32, 48), (32, 16))  # the middle is frequency zero
    frequency, mean = radial_profile(spectrum)
    assert frequency[mean.argmax()].item() == pytest.approx(0.25, abs=1 / 64)


def test_the_filter_keeps_low_frequencies_alone():
    def largest(image):  # away from the border
        return (image - image.mean())[:, 16:-16, 16:-16].abs().max().item()

    for frequency, kept in ((1 / 32, (0.9, 1.05)), (0.25, (0, 0.02)), (0.4, (0, 0.05))):
        before = wave(frequency)
        share = largest(low_pass(before, 4)) / largest(before)
        assert kept[0] <= share <= kept[1], frequency


def test_a_constant_has_no_spectrum():
    assert log_spectrum(torch.full((3, 16, 16), 0.3)).max() == pytest.approx(-6)


def test_the_figure_comes_with_the_means_over_each_frequency(tmp_path):
    gt = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(0))
    written = draw_spectra(nn.Identity(), gt, 4, tmp_path / 'spectra')
    assert [path.suffix for path in written] == ['.png', '.pdf', '.csv']
    rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(written[2].open())]
    assert all(row['hr'] == row['ae'] for row in rows)  # this auto-encoder keeps all
    assert all(row['ae_minus_lpf'] == pytest.approx(row['ae'] - row['lpf'], abs=2e-5) for row in rows)
    high = [row['ae_minus_lpf'] for row in rows if row['frequency'] > 0.3]
    assert sum(high) / len(high) > 0.5  # and the filter does not
