import pytest
import torch

from aesop.errors import UserError
from aesop.metrics import build_metric
from aesop.utils.images import quantise, to_y
from aesop.utils.imresize import imresize


def test_the_bicubic_input_is_met_exactly(photograph):
    lq = quantise(imresize(photograph, 1 / 4))
    metric = build_metric({'type': 'LRPSNR'})
    assert metric(photograph, None, lq).item() == float('inf')
    assert metric.needs == ('sr', 'lq') and metric.higher_is_better


@pytest.mark.parametrize('scale', [2, 4])
def test_luma_error_at_lr_size(photograph, noisy, scale):
    lq = quantise(imresize(photograph, 1 / scale))
    small = quantise(imresize(quantise(noisy), 1 / scale))
    error = (to_y(small.double()) - to_y(lq.double())).square().mean()
    metric = build_metric({'type': 'LRPSNR', 'scale': scale})
    assert metric(noisy, photograph, lq).item() == pytest.approx(-10 * error.log10().item())
    assert metric.protocol['downscaling'] == f'MATLAB bicubic x1/{scale}, antialiased'


def test_mistakes(photograph):
    metric = build_metric({'type': 'LRPSNR'})
    with pytest.raises(UserError, match='LRPSNR needs lq images'):
        metric(photograph, photograph)
    with pytest.raises(UserError, match='LRPSNR: cannot compare an image of 30x24 pixels with one of 60x48'):
        metric(photograph, photograph, torch.zeros(3, 48, 60))


def test_against_the_downscaled_ground_truth(photograph, noisy):
    metric = build_metric({'type': 'LRPSNRofGT', 'scale': 4})
    assert metric.needs == ('sr', 'gt')
    assert metric(photograph, photograph).item() == float('inf')
    lq = quantise(imresize(photograph, 1 / 4))
    assert metric(noisy, photograph).item() == build_metric({'type': 'LRPSNR', 'scale': 4})(noisy, None, lq).item()
