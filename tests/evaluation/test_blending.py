import pytest
import torch
import torch.nn.functional as F

from aesop.evaluation.blending import blended
from aesop.evaluation.tiling import tiled


def enlarge(x):
    return F.interpolate(x, scale_factor=2, mode='nearest')


@pytest.mark.parametrize(('tile', 'overlap', 'blend'), [(16, 8, 4), (16, 8, 8), (16, 4, 0), (10, 6, None), (40, 8, 8)])
def test_the_whole_image_where_tiles_agree(tile, overlap, blend):
    lq = torch.rand(2, 3, 37, 51)
    told = []
    sr = blended(enlarge, lq, 2, tile, overlap, progress=told.append, blend=blend)
    torch.testing.assert_close(sr, enlarge(lq))
    assert sum(told) == 2 * 37 * 51 or max(lq.shape[-2:]) <= tile


def test_no_seams_where_they_do_not():
    """A network that shifts each tile by its own mean."""
    lq = torch.rand(1, 3, 32, 64)
    lq[..., 32:] += 1

    def shifting(x):
        return enlarge(x) * 0 + x.mean()

    hard, soft = tiled(shifting, lq, 2, 32, 8), blended(shifting, lq, 2, 32, 8, blend=8)
    steps = [x.diff(dim=-1).abs().max() for x in (hard, soft)]
    assert steps[1] < steps[0] / 25  # 32 pixels of the result lie between the two


def test_without_blending_it_is_tiled():
    lq = torch.rand(1, 3, 20, 30)
    net = torch.nn.Conv2d(3, 3, 3, padding=1)
    with torch.no_grad():
        expected = tiled(lambda x: enlarge(net(x)), lq, 2, 8, 1)
        torch.testing.assert_close(blended(lambda x: enlarge(net(x)), lq, 2, 8, 1, blend=0), expected)
