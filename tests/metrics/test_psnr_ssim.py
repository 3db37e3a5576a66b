import json
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from aesop.errors import UserError
from aesop.metrics import build_metric
from aesop.utils.images import to_uint8, to_y
from tests.golden import image

TABLE = json.loads((Path(__file__).parents[1] / 'data/metrics.json').read_text())


@pytest.mark.parametrize('row', TABLE)
def test_reference(row):
    name, crop, y = row.split()
    arguments = {'crop_border': int(crop[-1]), 'test_y_channel': y == 'y=True'}
    metric = build_metric({'type': f'calculate_{name}', **arguments})
    score = metric(image(1, 3, 61, 53, 0.3), image(1, 3, 61, 53, 0))
    assert score.item() == pytest.approx(TABLE[row], rel=1e-6)


@pytest.mark.parametrize('y', [False, True])
def test_scikit_image_agrees_on_a_photograph(photograph, noisy, y):
    arguments = {'crop_border': 3, 'test_y_channel': y}
    a, b = (to_uint8(x)[3:-3, 3:-3].astype(np.float64) for x in (noisy, photograph))
    if y:
        a, b = (to_y(torch.from_numpy(x / 255).permute(2, 0, 1))[0].numpy() * 255 for x in (a, b))
    psnr = peak_signal_noise_ratio(b, a, data_range=255)
    ssim = structural_similarity(
        a,
        b,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=None if y else 2,
    )
    assert build_metric({'type': 'PSNR', **arguments})(noisy, photograph).item() == pytest.approx(psnr, rel=1e-6)
    assert build_metric({'type': 'SSIM', **arguments})(noisy, photograph).item() == pytest.approx(ssim, rel=1e-6)


@pytest.mark.parametrize(
    ('name', 'score'), [('calculate_psnr', float('inf')), ('calculate_psnr_pytorch', 80), ('calculate_ssim', 1)]
)
def test_identical_images(name, score, photograph):
    assert build_metric({'type': name})(photograph, photograph).item() == pytest.approx(score)


def test_psnr_of_a_known_error():
    sr = torch.full((1, 3, 4, 4), 51 / 255)
    assert build_metric({'type': 'PSNR'})(sr, torch.zeros_like(sr)).item() == pytest.approx(-20 * np.log10(0.2))


def test_ssim_needs_a_window():
    with pytest.raises(UserError, match='SSIM needs at least 11x11 pixels, but crop_border 1 leaves less of 14x12'):
        build_metric({'type': 'SSIM', 'crop_border': 1})(torch.zeros(3, 12, 14), torch.zeros(3, 12, 14))
