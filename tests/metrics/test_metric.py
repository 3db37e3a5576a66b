import pytest
import torch

from aesop.errors import UserError
from aesop.metrics import build_metric


def test_all_scores_of_a_batch(photograph, noisy):
    gt, sr = torch.stack([photograph, photograph]), torch.stack([noisy, photograph])
    metric = build_metric({'type': 'SSIM'})
    scores = metric(sr, gt)
    assert scores.shape == (2,) and not scores.requires_grad
    assert scores[0] == metric(noisy, photograph)[0] < scores[1]
    assert metric(noisy, photograph).shape == (1,)


def test_values_are_quantised_and_clamped(photograph):
    metric = build_metric({'type': 'PSNR'})
    assert metric(photograph + 0.4 / 255, photograph).item() == float('inf')
    assert metric(photograph + 0.6 / 255, photograph).item() < 49
    assert metric(torch.full((3, 8, 8), 1.7), torch.ones(3, 8, 8)).item() == float('inf')


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_any_floating_point_type(dtype):
    sr, gt = torch.zeros(3, 8, 8, dtype=dtype), torch.ones(3, 8, 8)
    assert build_metric({'type': 'PSNR'})(sr, gt).item() == pytest.approx(0, abs=1e-9)


def test_crop_border():
    gt = torch.zeros(1, 3, 8, 10)
    sr = gt.clone()
    sr[..., :2, :], sr[..., -2:, :], sr[..., :, :2], sr[..., :, -2:] = 1, 1, 1, 1
    assert build_metric({'type': 'PSNR', 'crop_border': 2})(sr, gt).item() == float('inf')
    assert build_metric({'type': 'PSNR', 'crop_border': 1})(sr, gt).item() < 10


def test_better_overrides_the_direction():
    block = {'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': True, 'better': 'higher'}
    assert build_metric(block).higher_is_better is True
    assert build_metric({**block, 'better': 'lower'}).higher_is_better is False
    assert block['better'] == 'higher'
    with pytest.raises(UserError, match='better: unknown value "lowr"'):
        build_metric({**block, 'better': 'lowr'})


def test_protocol():
    protocol = build_metric({'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': True}).protocol
    assert protocol == {
        'metric': 'PSNR',
        'better': 'higher',
        'colour': 'Y (BT.601)',
        'crop_border': 4,
        'quantisation': '8 bit',
    }
    assert build_metric({'type': 'SSIM'}).protocol['colour'] == 'RGB'


def test_images_that_do_not_fit_are_a_users_mistake():
    metric = build_metric({'type': 'PSNR', 'crop_border': 4})
    with pytest.raises(UserError, match='PSNR: cannot compare an image of 12x16 pixels with one of 12x20'):
        metric(torch.zeros(3, 16, 12), torch.zeros(3, 20, 12))
    with pytest.raises(UserError, match='crop_border 4 leaves nothing of 8x16 pixels'):
        metric(torch.zeros(3, 16, 8), torch.zeros(3, 16, 8))
    with pytest.raises(UserError, match='PSNR needs gt images'):
        metric(torch.zeros(3, 16, 16))
