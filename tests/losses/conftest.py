import json
from pathlib import Path

import pytest
import torch

from tests.golden import image

TABLE = json.loads((Path(__file__).parents[1] / 'data/losses.json').read_text())


@pytest.fixture
def pair():
    """(sr, gt), `sr` with gradient."""
    return image(2, 3, 64, 64, 0.4).requires_grad_(), image(2, 3, 64, 64, 0)


@pytest.fixture
def exact_pair(pair):
    """The same in float64, for what is deep: processors round float32 differently, which ReLU and |x| show."""
    return tuple(image.detach().double().requires_grad_(image.requires_grad) for image in pair)


@pytest.fixture
def matches_reference():
    """Checks a loss and its gradient at `sr` against the row `name` of the reference table."""

    def check(name, loss, sr):
        (grad,) = torch.autograd.grad(loss, sr)
        got = {'value': loss.item(), 'grad_l2': grad.double().norm().item(), 'grad_sum': grad.double().sum().item()}
        want = TABLE[name]
        assert got['value'] == pytest.approx(want['value'], rel=1e-5)
        assert got['grad_l2'] == pytest.approx(want['grad_l2'], rel=1e-5)
        # a sum over thousands of elements of both signs: its error is that of the elements, not of the sum
        assert got['grad_sum'] == pytest.approx(want['grad_sum'], rel=1e-5, abs=1e-4 * want['grad_l2'])

    return check
