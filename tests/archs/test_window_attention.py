import pytest
import torch
from torch import nn

from aesop.archs import window_attention
from aesop.archs.window_attention import (
    PixelLinear,
    SwinBlock,
    WindowAttention,
    from_windows,
    relative_position_index,
    shift_mask,
    to_windows,
)
from aesop.errors import UserError
from tests.golden import fill_, image


def features(n, h, w, c):
    return image(n, c, h, w).permute(0, 2, 3, 1)


def test_windows_go_row_by_row_and_back():
    x = features(2, 6, 9, 4)
    windows = to_windows(x, 3)
    assert windows.shape == (2, 6, 9, 4)
    assert torch.equal(windows[1, 4], x[1, 3:6, 3:6].reshape(9, 4))
    assert torch.equal(from_windows(windows, 6, 9, 3), x)


@pytest.mark.parametrize(('h', 'w', 'window'), [(8, 12, 4), (6, 9, 3)])
def test_pixels_see_each_other_only_where_they_are_neighbours(h, w, window):
    """Slow and obvious: roll the coordinates, and compare distances inside each window with the window's side."""
    shift = window // 2
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing='ij')
    rolled = to_windows(torch.stack((y, x), -1).roll((-shift, -shift), (0, 1))[None], window)[0]
    mask = shift_mask(h, w, window)
    assert mask.shape == (h * w // window**2, window**2, window**2)
    for coordinates, scores in zip(rolled, mask):
        far = (coordinates[:, None] - coordinates).abs().amax(-1) >= window
        assert torch.equal(scores, -100.0 * far)


def test_the_bias_depends_on_the_offset_alone():
    index = relative_position_index(3)
    assert index.shape == (9, 9)
    assert index.unique().tolist() == list(range(25))
    assert index.diagonal().tolist() == [12] * 9  # offset (0, 0) is in the middle of the table
    assert index[4, 0] == index[8, 4] == 12 + 5 + 1  # one down, one to the right


def attention_by_hand(net, x, mask):
    """One window, one head and one query after the other."""
    out = torch.zeros_like(x)
    width = x.shape[-1] // net.num_heads
    for n in range(x.shape[0]):
        for window in range(x.shape[1]):
            q, k, v = net.qkv(x[n, window]).chunk(3, -1)
            for head in range(net.num_heads):
                part = slice(head * width, (head + 1) * width)
                scores = q[:, part] @ k[:, part].T / width**0.5
                scores = scores + net.relative_position_bias_table[:, head][net.relative_position_index]
                if mask is not None:
                    scores = scores + mask[window]
                out[n, window, :, part] = scores.softmax(-1) @ v[:, part]
    return net.proj(out)


@pytest.mark.parametrize('masked', [False, True])
@torch.no_grad()
def test_attention_equals_its_definition(masked):
    torch.manual_seed(0)
    net = WindowAttention(12, num_heads=3, window=4, qkv_bias=True)
    net.relative_position_bias_table.normal_()
    x = torch.randn(2, 6, 16, 12)
    mask = shift_mask(8, 12, 4) if masked else None
    torch.testing.assert_close(net(x, mask), attention_by_hand(net, x, mask))


def test_heads_have_to_share_the_channels():
    with pytest.raises(UserError, match='10 channels cannot be shared among 4 heads'):
        WindowAttention(10, 4, 4, True)


def test_a_shifted_block_keeps_the_borders_apart():
    net = fill_(SwinBlock(4, num_heads=2, window=4, shifted=True, img_size=8, mlp_ratio=2))
    x = features(1, 8, 8, 4)
    changed = x.clone()
    changed[0, 0, 0, 0] += 1
    difference = (net(x, shift_mask(8, 8, 4)) - net(changed, shift_mask(8, 8, 4))).abs().sum(-1)[0]
    seen = difference > 1e-7
    assert seen[:2, :2].all()
    assert seen.sum() == 4


def test_stochastic_depth_acts_in_training_alone_and_keeps_the_mean():
    torch.manual_seed(0)
    net = fill_(SwinBlock(4, num_heads=2, window=4, shifted=False, img_size=8, mlp_ratio=2, drop_path=0.25))
    x = features(1, 4, 4, 4).expand(4000, -1, -1, -1)
    branch = torch.ones_like(x)
    assert torch.equal(net._dropped(branch), branch)
    dropped = net.train()._dropped(branch)
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert dropped.flatten(1).std(dim=1).max() == 0  # a sample is kept or dropped as a whole
    assert dropped.mean().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('alignment', [1, 8])
def test_fused_attention_equals_the_plain_form(masked, alignment, monkeypatch):
    """Values and gradients of a frozen network, also with the channels of a head filled up as on a GPU."""
    monkeypatch.setitem(window_attention.ALIGNMENT, 'cpu', alignment)
    torch.manual_seed(0)
    net = WindowAttention(20, num_heads=2, window=4, qkv_bias=True)
    nn.init.normal_(net.relative_position_bias_table)
    net.requires_grad_(False)  # with a gradient of the bias, a CPU computes the plain form
    x = torch.randn(2, 6, 16, 20)
    mask = shift_mask(8, 12, 4) if masked else None
    results = []
    for plain in (False, True):
        net.plain = plain
        leaf = x.clone().requires_grad_()
        out = net(leaf, mask)
        (out * torch.linspace(0, 1, 20)).sum().backward()
        results.append([out, leaf.grad])
    for fused, plain in zip(*results):
        torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('shape', [(2, 8, 12), (1, 4, 64), (3, 5, 7)], ids=['16 rows', 'windows', 'no multiple of 16'])
def test_a_linear_layer_of_pixels_equals_the_plain_form(shape):
    """Values and all gradients."""
    torch.manual_seed(0)
    layer = PixelLinear(12, 20)
    x = torch.randn(*shape, 12).transpose(0, 1)  # of any strides
    results = []
    for plain in (False, True):
        layer.plain = plain
        layer.zero_grad()
        leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
        out = layer(leaf)
        out.square().sum().backward()
        results.append([out, leaf.grad, *(p.grad for p in layer.parameters())])
    assert results[0][0].shape == (*x.shape[:-1], 20)
    for ours, plain in zip(*results):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)


def test_a_linear_layer_of_pixels_is_a_convolution_in_eager_fp32_alone(monkeypatch):
    calls = []
    monkeypatch.setattr(window_attention.F, 'conv2d', lambda x, w, b: calls.append(w.shape) or nn.functional.linear(
        x.permute(0, 2, 3, 1), w[:, :, 0, 0], b
    ).permute(0, 3, 1, 2))  # fmt: skip
    layer, x = PixelLinear(4, 6), torch.randn(2, 8, 4)
    layer(x)
    assert calls == [(6, 4, 1, 1)]
    with torch.autocast('cpu', torch.bfloat16):
        layer(x)
    layer.double()(x.double())
    torch.jit.trace(layer.float(), x, check_trace=False)
    layer.to('meta')(x.to('meta'))
    assert len(calls) == 1
