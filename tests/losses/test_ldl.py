from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from aesop.losses import artifact_map, build_loss
from tests.golden import image

REFERENCE = Path(__file__).parents[1] / 'data/ldl_map.npz'


def direct_map(gt, sr, sr_ema, window):
    """The formula, neighbourhood by neighbourhood."""
    r, r_ema = ((gt - x).abs().sum(1, keepdim=True) for x in (sr, sr_ema))
    patches = F.unfold(F.pad(r, [window // 2] * 4, mode='reflect'), window)  # (N, window^2, H*W)
    image_level = r.flatten(1).var(1).view(-1, 1, 1, 1) ** 0.2
    return torch.where(r < r_ema, 0, image_level * patches.var(1).view_as(r))


def test_reference_map():
    with np.load(REFERENCE) as file:
        (want,) = (torch.from_numpy(file[k]) for k in file.files)
    got = artifact_map(*(image(2, 3, 64, 64, phase) for phase in (0, 0.4, 0.2)))
    torch.testing.assert_close(got, want.view_as(got), rtol=1e-5, atol=1e-6 * want.max().item())


def test_reference_loss(pair, matches_reference):
    sr, gt = pair
    weight = artifact_map(gt, sr, image(2, 3, 64, 64, 0.2))
    criterion = build_loss({'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'})
    matches_reference('LDL_artifact_L1', criterion(weight * sr, weight * gt), sr)


@pytest.mark.parametrize('window', [3, 7])
@pytest.mark.parametrize('size', [(9, 14), (24, 24)])
def test_box_filter_equals_the_direct_form(window, size):
    gt, sr, ema = (image(2, 3, *size, phase) for phase in (0, 0.4, 0.3))
    torch.testing.assert_close(
        artifact_map(gt, sr, ema, window), direct_map(gt.double(), sr.double(), ema.double(), window).float()
    )


def test_box_filter_equals_the_direct_form_where_the_residual_is_flat():
    """A constant residual in one half: a difference of float32 moments would leave noise there, even below zero."""
    gt, ema = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    sr = torch.full((1, 3, 32, 32), 0.9)
    sr[..., 16:] = image(1, 3, 32, 16)
    got = artifact_map(gt, sr, ema)
    want = direct_map(gt, sr, ema, 7)
    assert (got >= 0).all() and got.max() > 0.01
    assert got[..., :13].max() < 1e-12
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-9)
    assert artifact_map(gt, torch.full_like(gt, 0.9), ema).max() < 1e-12


def test_zero_where_the_average_generator_errs_more():
    gt, sr, ema = (image(1, 3, 16, 16, phase) for phase in (0, 0.4, 0.3))
    ema[..., :8] = 1 - gt[..., :8].round()  # worse than any sr
    got = artifact_map(gt, sr, ema)
    assert got[..., :8].count_nonzero() == 0 and got[..., 8:].count_nonzero() > 0


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_gradient_is_zero_where_sr_equals_gt(dtype):
    gt = image(2, 3, 16, 16).to(dtype)
    sr = gt.clone().requires_grad_()
    weight = artifact_map(gt, sr, image(2, 3, 16, 16, 0.2).to(dtype))
    loss = (weight * sr - weight * gt).abs().mean() + weight.sum()
    loss.backward()
    assert loss.item() == 0 and sr.grad.count_nonzero() == 0 and weight.dtype == dtype


@pytest.mark.parametrize('distance', [1e-3, 1e-6, 1e-12, 1e-30])
def test_gradient_stays_finite_near_gt(distance):
    sr = (distance * image(1, 3, 16, 16)).requires_grad_()
    zero = torch.zeros_like(sr)
    artifact_map(zero, sr, zero).sum().backward()
    assert sr.grad.isfinite().all()


def test_one_perfect_image_does_not_disturb_the_others():
    gt = image(2, 3, 16, 16)
    sr = torch.cat([gt[:1], image(1, 3, 16, 16, 0.4)]).requires_grad_()
    artifact_map(gt, sr, gt).sum().backward()
    assert sr.grad[0].count_nonzero() == 0 and sr.grad[1].count_nonzero() > 0 and sr.grad.isfinite().all()


def test_gradient_of_the_map_is_the_derivative():
    gt, sr = (image(1, 2, 6, 6, phase).double() for phase in (0, 0.4))
    sr = torch.where((gt - sr).abs() < 1e-3, gt + 0.01, sr).requires_grad_()  # stay away from the corner of |.|
    assert torch.autograd.gradcheck(lambda x: artifact_map(gt, x, gt, window=3), sr)
