from pathlib import Path

from aesop.metrics import table
from aesop.metrics.__main__ import markdown
from aesop.metrics.metric import Metric
from aesop.registry import METRICS

PAGE = Path(__file__).parents[2] / 'docs/metrics.md'


def test_docs_are_current():
    assert PAGE.read_text() == markdown(), 'run `python -m aesop.metrics > docs/metrics.md`'


def test_every_metric_says_what_it_is():
    rows = {row.name: row for row in table()}
    assert rows['PSNR'].better == 'higher' and rows['PSNR'].needs == ('gt',) and rows['PSNR'].per_image
    assert rows['LRPSNR'].needs == ('lq',) and rows['FID'].per_image is False and rows['NIQE'].needs == ()
    assert rows['DISTS'].aliases == ('calculate_dists', 'calculate_dists_pytorch') and rows['DISTS'].better == 'lower'
    assert all(row.value_range and row.how for row in rows.values())


def test_a_metric_from_outside_is_a_row(monkeypatch):
    monkeypatch.setattr(METRICS, '_parts', dict(METRICS._parts))

    @METRICS.register('calculate_mine')
    class Mine(Metric):
        value_range = '0 to 1'
        how = 'by me'

    (row,) = [row for row in table() if row.name == 'Mine']
    assert row.aliases == ('calculate_mine',) and row.how == 'by me'
