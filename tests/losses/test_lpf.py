import torch

from aesop.losses import build_loss


def test_reference(pair, matches_reference):
    sr, gt = pair
    matches_reference('LRL1Loss', build_loss({'type': 'LRL1Loss'})(sr, gt), sr)


def test_it_does_not_see_what_alternates_between_pixels():
    """At x 1/2 each output lies half-way between two inputs, with weights that are the same on both sides."""
    gt = torch.full((1, 3, 16, 16), 0.5)
    loss = build_loss({'type': 'LRL1Loss', 'scale': 2, 'loss_weight': 3})
    assert loss(gt + 0.1 * (-1.0) ** torch.arange(16), gt).item() < 0.03  # borders aside
    assert abs(loss(gt + 0.1, gt).item() - 0.3) < 1e-6
