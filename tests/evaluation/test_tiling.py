import pytest
import torch
import torch.nn.functional as F

from aesop.archs import build_network
from aesop.errors import UserError
from aesop.evaluation.tiling import TiledPrediction, step_of, tiled
from tests.runs import AE, G

SWINIR = {'type': 'SwinIR', 'img_size': 16, 'depths': [2], 'embed_dim': 12, 'num_heads': [2], 'mlp_ratio': 2}
SWINIR |= {'window_size': 8, 'upscale': 4, 'upsampler': 'pixelshuffle'}


def build(block):
    torch.manual_seed(0)
    net = build_network(block).eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter *= 3  # weights at the start are so small that all but the nearest pixels hardly matter
    return net


@pytest.fixture
def lq():
    return torch.rand(2, 3, 70, 45, generator=torch.Generator().manual_seed(1))


def test_what_each_tile_sees():
    seen = []

    def nearest(x):
        seen.append(tuple(x.shape[-2:]))
        return F.interpolate(x, scale_factor=2)

    image = torch.arange(20.0 * 30).view(1, 1, 20, 30).expand(1, 3, -1, -1)
    assert torch.equal(tiled(nearest, image, 2, 12, 3), nearest(image))
    assert seen == [(15, 15), (15, 18), (15, 9), (11, 15), (11, 18), (11, 9), (20, 30)]


def test_an_image_of_a_tile_or_less_is_not_cut(lq):
    calls = []
    tiled(lambda x: calls.append(x.shape) or x, lq, 1, 70, 8)
    assert calls == [lq.shape]


def test_rrdbnet_in_tiles_is_rrdbnet(lq):
    net = build(G)
    whole = net(lq)
    assert (tiled(net, lq, 4, 24, 24) - whole).abs().max() < 1e-4
    assert (tiled(net, lq, 4, 24, 2) - whole).abs().max() > 1e-4  # so that it says something


def test_windows_lie_as_in_the_whole_image(lq):
    net = build(SWINIR)
    whole = net(lq)
    assert step_of(net) == 8
    predict = TiledPrediction(net, 4, tile=20, overlap=22, multiple=8)
    assert (predict.tile, predict.overlap) == (24, 24)
    assert (predict(lq) - whole).abs().max() < 1e-4
    assert (tiled(net, lq, 4, 20, 22) - whole).abs().max() > 1e-4


def test_an_auto_encoder_gives_what_it_takes():
    net = build(AE)
    assert step_of(net) == 4
    image = torch.rand(1, 3, 150, 101)
    predict = TiledPrediction(net, 1, tile=64, overlap=62, multiple=step_of(net))
    assert predict.overlap == 64
    assert (predict(image) - net(image)).abs().max() < 1e-4


class Memory:
    """A device that holds `limit` pixels."""

    def __init__(self, limit, error=torch.cuda.OutOfMemoryError):
        self.limit, self.error = limit, error

    def __call__(self, x):
        if x.shape[-2] * x.shape[-1] > self.limit:
            raise self.error("CUDA out of memory / DefaultCPUAllocator: can't allocate memory")
        return F.interpolate(x, scale_factor=4)


@pytest.mark.parametrize('error', [torch.cuda.OutOfMemoryError, RuntimeError])
def test_tiles_are_halved_until_they_fit(lq, caplog, error):
    predict = TiledPrediction(Memory(30 * 30, error), 4, overlap=4)
    assert torch.equal(predict(lq), F.interpolate(lq, scale_factor=4))
    assert predict.tile == 18
    assert [record.args for record in caplog.records] == [(70, 35), (35, 18)]
    predict(lq)
    assert len(caplog.records) == 2  # it has learnt


def test_memory_for_nothing(lq):
    with pytest.raises(
        UserError, match='not enough memory for tiles of 18 pixels with 8 pixels of context; lower val.tile_overlap'
    ):
        TiledPrediction(Memory(100), 4, overlap=8)(lq)


def test_other_errors_are_not_taken_for_it(lq):
    def broken(x):
        raise RuntimeError('shapes cannot be multiplied')

    with pytest.raises(RuntimeError, match='shapes'):
        TiledPrediction(broken, 4)(lq)


def enlarge(x):
    return F.interpolate(x, scale_factor=2, mode='nearest')


@pytest.mark.parametrize(('tile', 'overlap', 'blend'), [(16, 8, 4), (16, 8, 8), (16, 4, 0), (10, 6, 3), (40, 8, 8)])
def test_blending_tiles_that_agree_gives_the_whole_image(tile, overlap, blend):
    lq = torch.rand(2, 3, 37, 51)
    told = []
    sr = tiled(enlarge, lq, 2, tile, overlap, progress=told.append, blend=blend)
    torch.testing.assert_close(sr, enlarge(lq))
    assert sum(told) == 2 * 37 * 51 or max(lq.shape[-2:]) <= tile


def test_blending_removes_seams():
    """A network that shifts each tile by its own mean."""
    lq = torch.rand(1, 3, 32, 64)
    lq[..., 32:] += 1

    def shifting(x):
        return enlarge(x) * 0 + x.mean()

    hard, soft = tiled(shifting, lq, 2, 32, 8), tiled(shifting, lq, 2, 32, 8, blend=8)
    steps = [x.diff(dim=-1).abs().max() for x in (hard, soft)]
    assert steps[1] < steps[0] / 25  # 32 pixels of the result lie between the two
