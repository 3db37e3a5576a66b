import pytest
import torch

from aesop.losses import build_loss


def test_a_ramp_has_its_slope_as_gradient_and_an_offset_costs_nothing():
    loss = build_loss({'type': 'GradientLoss', 'loss_weight': 3.0})
    ramp = torch.arange(8.0).expand(1, 3, 8, 8) / 10
    inside = loss.gradient_map(ramp)[..., 1:-1, 1:-1]
    assert inside == pytest.approx(torch.full_like(inside, 0.2), abs=1e-4)  # neighbours on both sides differ by 2 steps
    flat = torch.full((1, 3, 8, 8), 0.5)
    shifted = (loss.gradient_map(flat) - loss.gradient_map(flat + 0.3))[..., 1:-1, 1:-1]
    assert shifted.abs().max() < 1e-6
    assert loss(ramp, ramp).item() == 0
    edges = loss.gradient_map
    assert loss(ramp, flat).item() == pytest.approx(3 * (edges(ramp) - edges(flat)).abs().mean().item())
