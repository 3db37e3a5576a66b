"""Common style and output of the figures: column width, colour-blind-safe palette, PNG, PDF and CSV."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aesop.errors import UserError
from aesop.utils.files import atomic, write_text

COLUMN = 3.3  # inches: column width in CVPR's and IEEE's layout
# Okabe and Ito's palette without yellow, which is too light on white; curves also differ in line style and marker.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X')
LINES = ('-', '--', '-.', ':')
STYLE: Any = {
    'font.size': 8,
    'axes.titlesize': 8,
    'axes.labelsize': 8,
    'xtick.labelsize': 7,
    'ytick.labelsize': 7,
    'legend.fontsize': 7,
    'axes.linewidth': 0.6,
    'lines.linewidth': 1.2,
    'lines.markersize': 3.5,
    'axes.grid': True,
    'grid.linewidth': 0.4,
    'grid.alpha': 0.4,
    'image.interpolation': 'nearest',
    'savefig.dpi': 300,
    'pdf.fonttype': 42,  # TrueType: journals reject Type 3 fonts
}


@contextmanager
def drawing() -> Iterator[Any]:
    """Context manager that gives pyplot in the style of the figures, without a display, and closes new figures on exit.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise UserError("figures need the package matplotlib: pip install 'aesop-sr[figures]'") from error
    matplotlib.use('Agg')
    from matplotlib import pyplot

    with matplotlib.rc_context(STYLE):
        before = set(pyplot.get_fignums())
        try:
            yield pyplot
        finally:
            for number in set(pyplot.get_fignums()) - before:
                pyplot.close(number)


def look(number: int) -> dict[str, Any]:
    """Colour, marker and line style of a curve by its number, as arguments of `plot`."""
    return {
        'color': COLOURS[number % len(COLOURS)],
        'marker': MARKERS[number % len(MARKERS)],
        'linestyle': LINES[number % len(LINES)],
    }


def write_figure(figure: Any, stem: str | Path) -> list[Path]:
    """Writes `<stem>.png` and `<stem>.pdf`; returns their paths."""
    paths = [beside(stem, suffix) for suffix in ('.png', '.pdf')]
    for path in paths:
        with atomic(path, suffixed=True) as aside:
            figure.savefig(aside)
        figure.set_layout_engine('none')  # compute the layout only once, for both files
    return paths


def write_csv(stem: str | Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Writes the plotted data to `<stem>.csv`."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(header)
    table.writerows(rows)
    return write_text(beside(stem, '.csv'), text.getvalue())


def beside(stem: str | Path, suffix: str) -> Path:
    return Path(f'{stem}{suffix}')
