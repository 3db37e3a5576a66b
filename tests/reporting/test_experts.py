import csv

import pytest
import torch

from aesop.archs.mod import MOD
from aesop.reporting.experts import draw_experts, route
from tests.golden import fill_, image

pytestmark = pytest.mark.usefixtures('coarse')


def net():
    return fill_(MOD(3, 8, 3)).requires_grad_(False)


def test_routing_lies_where_the_image_is():
    left, right = torch.zeros(3, 64, 96), image(1, 3, 64, 96)[0]
    mixed = torch.cat([left[..., :48], right[..., 48:]], -1)
    routing = route(net(), mixed)
    assert routing.shape == (16, 24, 3)
    assert torch.allclose(routing[:, :6], route(net(), left)[:, :6])  # each token sees 40 pixels
    assert torch.allclose(routing[:, -6:], route(net(), right)[:, -6:])
    assert not torch.allclose(routing[:, -6:], routing[:, :6])


def test_a_figure_and_its_numbers(tmp_path):
    routing = route(net(), image(1, 3, 50, 66)[0])
    written = draw_experts(net(), image(1, 3, 50, 66)[0], tmp_path / 'new/experts')
    assert [path.name for path in written] == ['experts.png', 'experts.pdf', 'experts.csv']
    with open(written[-1]) as file:
        rows = list(csv.DictReader(file))
    assert [int(row['tokens']) for row in rows] == [(routing.argmax(-1) == k).sum() for k in range(3)]
    assert sum(int(row['tokens']) for row in rows) == 12 * 16
    assert [float(row['mean_probability']) for row in rows] == pytest.approx(routing.mean((0, 1)).tolist(), abs=1e-5)
    assert [float(row['share']) for row in rows] == pytest.approx([int(row['tokens']) / 192 for row in rows], abs=1e-5)
