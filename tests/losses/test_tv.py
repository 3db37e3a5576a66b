import pytest
import torch

from aesop.errors import UserError
from aesop.losses import build_loss

SR = torch.tensor([[[[0.0, 1.0, 3.0], [4.0, 4.0, 4.0]]]])  # vertical |4 3 1|, horizontal |1 2| and |0 0|


@pytest.mark.parametrize(('reduction', 'value'), [('mean', 8 / 3 + 3 / 4), ('sum', 11)])
def test_differences_down_and_across(reduction, value):
    loss = build_loss({'type': 'WeightedTVLoss', 'loss_weight': 2, 'reduction': reduction})
    assert loss(SR, torch.rand_like(SR)).item() == pytest.approx(2 * value)
    assert loss(torch.ones(1, 3, 5, 5), None).item() == 0


def test_a_weight_multiplies_each_pixels_difference_to_the_next():
    weight = torch.tensor([[[[1.0, 0.0, 10.0], [5.0, 5.0, 5.0]]]])
    loss = build_loss({'type': 'WeightedTVLoss', 'reduction': 'sum'})
    assert loss(SR, weight=weight).item() == (4 + 0 + 10) + (1 + 0)


def test_the_gradient_smooths():
    sr = SR.clone().requires_grad_()
    build_loss({'type': 'WeightedTVLoss', 'reduction': 'sum'})(sr, SR).backward()
    assert sr.grad.tolist() == [[[[-2, -1, 0], [1, 1, 1]]]]


def test_a_value_for_each_pixel_is_not_on_offer():
    with pytest.raises(UserError, match='reduction: unknown value "none"; choose from mean, sum'):
        build_loss({'type': 'WeightedTVLoss', 'reduction': 'none'})
