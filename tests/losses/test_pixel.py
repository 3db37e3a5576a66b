import pytest
import torch

from aesop.errors import UserError
from aesop.losses import build_loss


@pytest.mark.parametrize(
    'block',
    [
        {'type': 'L1Loss', 'loss_weight': 0.01},
        {'type': 'MSELoss'},
        {'type': 'CharbonnierLoss', 'eps': 1e-6},
    ],
)
def test_reference(block, pair, matches_reference):
    sr, gt = pair
    matches_reference(block['type'], build_loss(block)(sr, gt), sr)


SR, GT = torch.tensor([[1.0, 4.0]]), torch.tensor([[0.0, 1.0]])


@pytest.mark.parametrize(('name', 'errors'), [('L1Loss', [1, 3]), ('MSELoss', [1, 9]), ('CharbonnierLoss', [1, 3])])
def test_reductions_weight_and_loss_weight(name, errors):
    one, three = errors
    weight = torch.tensor([[1.0, 0.5]])
    mean, total, none = (build_loss({'type': name, 'loss_weight': 2, 'reduction': r}) for r in ('mean', 'sum', 'none'))
    torch.testing.assert_close(none(SR, GT), 2 * torch.tensor([[1.0 * one, three]]))
    assert mean(SR, GT).item() == pytest.approx(one + three)
    assert total(SR, GT).item() == pytest.approx(2 * (one + three))
    assert mean(SR, GT, weight).item() == pytest.approx(one + 0.5 * three)  # divided by the number of elements
    assert total(SR, GT, weight=weight).item() == pytest.approx(2 * (one + 0.5 * three))


def test_charbonnier_has_a_gradient_at_zero():
    x = torch.zeros(3, requires_grad=True)
    build_loss({'type': 'CharbonnierLoss'})(x, torch.zeros(3)).backward()
    assert x.grad.tolist() == [0, 0, 0]


def test_unknown_reduction_is_a_users_mistake():
    with pytest.raises(UserError, match='reduction: unknown value "meen".*Did you mean "mean"'):
        build_loss({'type': 'L1Loss', 'reduction': 'meen'})


def test_block_is_left_unchanged():
    block = {'type': 'L1Loss', 'loss_weight': 0.01}
    build_loss(block)
    assert block == {'type': 'L1Loss', 'loss_weight': 0.01}
