import csv
import sys

import pytest
from PIL import Image

from aesop.errors import UserError
from aesop.reporting import figures


def test_a_figure_is_a_column_wide_in_two_formats_with_its_numbers(tmp_path):
    with figures.drawing() as pyplot:
        figure, axis = pyplot.subplots(figsize=(figures.COLUMN, 2))
        axis.plot([1, 2], [3, 4], **figures.look(0))
        written = figures.write_figure(figure, tmp_path / 'new/curve.v2')
        sizes = [text.get_size() for text in (axis.xaxis.label, axis.title, *axis.get_xticklabels())]
    assert [path.name for path in written] == ['curve.v2.png', 'curve.v2.pdf']
    assert Image.open(written[0]).size == (990, 600)  # 3.3 x 2 inches at 300 dpi
    assert written[1].read_bytes().startswith(b'%PDF')
    assert min(sizes) >= 7
    table = figures.write_csv(tmp_path / 'new/curve.v2', ('x', 'y'), [(1, 3), (2, 4)])
    assert list(csv.reader(table.open())) == [['x', 'y'], ['1', '3'], ['2', '4']]


def test_the_figures_are_closed_and_the_style_is_gone():
    with figures.drawing() as pyplot:
        before = pyplot.get_fignums()
        size = pyplot.rcParams['font.size']
        pyplot.figure()
    assert pyplot.get_fignums() == before
    assert size == 8 and pyplot.rcParams['font.size'] != 8


def brightness(colour):
    """Relative luminance as WCAG defines it."""
    channels = (int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_curves_differ_in_more_than_colour_and_stand_out_from_white():
    looks = [figures.look(n) for n in range(7)]
    assert len({(look['marker'], look['linestyle']) for look in looks}) == 7
    assert all(1.05 / (brightness(look['color']) + 0.05) > 2 for look in looks)


def test_without_matplotlib_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    with pytest.raises(UserError, match='need the package matplotlib: pip install'), figures.drawing():
        pass
