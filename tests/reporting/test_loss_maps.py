import csv

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from aesop.losses import build_loss
from aesop.reporting.loss_maps import brightest_of, busiest_window, draw_loss_maps, loss_maps
from tests.golden import image

pytestmark = pytest.mark.usefixtures('coarse')


class Blur(nn.Module):
    """Stands for an auto-encoder: drops what changes from one pixel to the next."""

    def forward(self, x):
        return F.interpolate(F.avg_pool2d(x, 2), scale_factor=2)


def test_maps_are_the_losses_before_their_mean():
    gt = image(2, 3, 16, 20)
    sr = gt.flip(0)
    pixel, encoded = loss_maps(Blur(), sr, gt)
    assert pixel.shape == encoded.shape == (2, 1, 16, 20)
    assert pixel.mean().item() == pytest.approx(build_loss({'type': 'L1Loss'})(sr, gt).item())
    assert encoded.mean().item() == pytest.approx((Blur()(sr) - Blur()(gt)).abs().mean().item())


def test_texture_that_the_autoencoder_drops_is_not_punished():
    gt = torch.full((1, 3, 8, 8), 0.5)
    checks = ((torch.arange(8)[:, None] + torch.arange(8)) % 2).float() - 0.5
    pixel, encoded = loss_maps(Blur(), gt + 0.2 * checks, gt)
    assert pixel.min() > 0.09 and encoded.max() < 1e-6


def test_the_busiest_window_is_where_the_detail_is():
    gt = torch.full((3, 96, 128), 0.5)
    gt[:, 40:72, 64:96] = torch.rand(3, 32, 32)
    top, left, side = busiest_window(gt, 32)
    assert (top, left, side) == (40, 64, 32)
    top, left, side = busiest_window(gt[:, 40:70], 160)  # no larger than the image
    assert (top, side) == (0, 28) and 64 <= left <= 68


def test_the_figure_comes_with_the_values_of_its_square(tmp_path):
    gt = image(1, 3, 24, 32)[0]
    methods = {'one': gt * 0.9, 'other': gt.flip(2)}
    written = draw_loss_maps(Blur(), gt, methods, (4, 8, 12), tmp_path / 'maps')
    assert [path.suffix for path in written] == ['.png', '.pdf', '.csv']
    assert Image.open(written[0]).size[0] == 132  # 3.3 inches, at the 40 dpi of `coarse`
    rows = list(csv.DictReader(written[2].open()))
    assert len(rows) == 2 * 12 * 12
    pixel, encoded = loss_maps(Blur(), methods['other'][None], gt[None])
    row = next(row for row in rows if row['method'] == 'other' and (row['y'], row['x']) == ('6', '17'))
    assert float(row['l_pix']) == pytest.approx(pixel[0, 0, 6, 17].item(), abs=1e-5)
    assert float(row['l_aesop']) == pytest.approx(encoded[0, 0, 6, 17].item(), abs=1e-5)


def test_one_bright_pixel_in_a_hundred_does_not_darken_the_map():
    values = torch.arange(200.0).reshape(10, 20)
    values[0, 0] = 1e6
    assert brightest_of(values) == 198
    assert brightest_of(torch.tensor([[0.5]])) == 0.5
