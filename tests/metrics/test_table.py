import inspect
from pathlib import Path

import pytest

from aesop.errors import UserError
from aesop.metrics.__main__ import markdown
from aesop.metrics.fid import PatchFID
from aesop.metrics.lpips import LPIPS
from aesop.metrics.lr_psnr import LRPSNR
from aesop.metrics.metric import Metric
from aesop.metrics.no_reference import NIQE
from aesop.registry import METRICS

PAGE = Path(__file__).parents[2] / 'docs/metrics.md'


def test_docs_are_current():
    assert PAGE.read_text() == markdown(), 'run `python -m aesop.metrics > docs/metrics.md`'


def row(name: str) -> list[str]:
    (line,) = [line for line in markdown().splitlines() if line.startswith((f'| `{name}` ', f'| `{name}`* '))]
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_every_metric_is_described():
    assert row('PSNR')[2] == 'higher' and row('PSNR')[4] == 'gt'
    assert row('LRPSNR')[4] == 'lq' and row('FID')[0] == '`FID`*' and row('NIQE')[4] == 'nothing'
    assert row('DISTS')[1] == '`calculate_dists`, `calculate_dists_pytorch`' and row('DISTS')[2] == 'lower'
    metrics = [METRICS.get(name) for name in METRICS.names()]
    assert all(metric.value_range and metric.how for metric in metrics)


def test_a_metric_from_outside_is_a_row(monkeypatch):
    monkeypatch.setattr(METRICS, '_parts', dict(METRICS._parts))

    @METRICS.register('calculate_mine')
    class Mine(Metric):
        value_range = '0 to 1'
        how = 'by me'

    assert row('Mine')[1] == '`calculate_mine`' and row('Mine')[5] == 'by me'


def test_arguments_of_the_base_are_in_the_signature():
    common = ['crop_border', 'test_y_channel', 'input_order', 'better']
    assert list(inspect.signature(LPIPS).parameters) == ['net', 'backbone_weights', *common]
    assert list(inspect.signature(PatchFID).parameters) == ['backbone_weights', *common]
    assert list(inspect.signature(NIQE).parameters) == ['quadrants', *common]
    signature = inspect.signature(LRPSNR)
    assert list(signature.parameters) == ['scale', 'test_y_channel', 'crop_border', 'input_order', 'better']
    assert signature.parameters['test_y_channel'].default is True
    with pytest.raises(UserError, match='LPIPS has no argument "crop_boarder". Did you mean "crop_border"?'):
        METRICS.build({'type': 'LPIPS', 'crop_boarder': 4})
