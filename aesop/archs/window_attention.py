"""Self-attention in shifted windows (Swin Transformer, Liu et al., ICCV 2021, section 3.2).

Features are (N, h, w, C); h and w are multiples of the window size.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.jit import is_tracing  # pyright: ignore[reportPrivateImportUsage]  (torch.jit's own name)

from aesop.errors import UserError


def to_windows(x: Tensor, window: int) -> Tensor:
    """(N, h, w, C) -> (N, windows, window^2, C), row by row."""
    n, h, w, c = x.shape
    x = x.view(n, h // window, window, w // window, window, c).transpose(2, 3)
    return x.reshape(n, (h // window) * (w // window), window**2, c)


def from_windows(x: Tensor, h: int, w: int, window: int) -> Tensor:
    """The inverse of `to_windows`."""
    n, channels = x.shape[0], x.shape[-1]  # not len(x), which an export would treat as a constant
    return x.view(n, h // window, w // window, window, window, channels).transpose(2, 3).reshape(n, h, w, channels)


def shift_mask(h: int, w: int, window: int, device: torch.device | None = None) -> Tensor:
    """(windows, window^2, window^2) to add to the scores of windows shifted by half their side: 0 or -100.

    Rolling brings opposite borders of the image into one window; pixels that are not neighbours must be masked.
    """

    def region(size: int) -> Tensor:
        position = torch.arange(size, device=device)
        return (position >= size - window).int() + (position >= size - window // 2).int()

    regions = 3 * region(h)[:, None] + region(w)
    regions = to_windows(regions[None, :, :, None], window)[0, :, :, 0]
    return -100.0 * (regions[:, :, None] != regions[:, None, :])


def relative_position_index(window: int) -> Tensor:
    """(window^2, window^2): the row of the bias table for each pair of pixels, one per offset (dy, dx)."""
    y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing='ij')
    dy, dx = (c.flatten()[:, None] - c.flatten() + window - 1 for c in (y, x))
    return dy * (2 * window - 1) + dx


# Fused kernels with a bias need the channels per head to be a multiple of this (SwinIR's heads have 30).
ALIGNMENT = {'cuda': 8}


def fused_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(dim) + bias) v; (N, heads, pixels, dim) each, `bias` (heads, pixels, pixels)."""
    dim = q.shape[-1]
    if missing := -dim % ALIGNMENT.get(
        q.device.type, 1
    ):  # zero padding does not change the result and is cropped again
        q, k, v = (F.pad(t, (0, missing)) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None], scale=dim**-0.5)[..., :dim]


# With a single thread, PyTorch turns a 1x1 convolution of fewer images into a matrix product.
ROWS = 16


class PixelLinear(nn.Linear):
    """nn.Linear on the channels of (..., C).

    On a CPU, fp32 matrix products run in MKL, which on AMD processors reaches half the rate of oneDNN's convolutions
    (measured: 100 against 215 GFLOP/s a core): there the layer is a 1x1 convolution, equal up to rounding.

    Attributes:
        plain: always use the matrix product; see `aesop.archs.layers.use_plain`.
    """

    plain = False

    def forward(self, input: Tensor) -> Tensor:
        if self.plain or not _is_eager_fp32_on_cpu(input, self.weight):
            return super().forward(input)
        *sides, channels = input.shape
        pixels = math.prod(sides)
        if pixels % ROWS:
            return super().forward(input)
        images = input.reshape(ROWS, 1, pixels // ROWS, channels).permute(0, 3, 1, 2)  # channels last, without a copy
        out = F.conv2d(images, self.weight[:, :, None, None], self.bias)
        return out.permute(0, 2, 3, 1).reshape(*sides, out.shape[1])


def _is_eager_fp32_on_cpu(*tensors: Tensor) -> bool:
    """False when tracing or compiling, so that exported and generated code keep the matrix product."""
    if is_tracing() or torch.compiler.is_compiling() or torch.is_autocast_enabled('cpu'):
        return False
    return all(t.device.type == 'cpu' and t.dtype == torch.float32 for t in tensors)


class WindowAttention(nn.Module):
    """Multi-head attention with a learned relative position bias.

    Args:
        dim: channels, a multiple of `num_heads`.
        window: side of a window in pixels.
        qkv_bias: whether the projections to queries, keys and values have biases.

    Attributes:
        plain: compute scores, softmax and product separately; see `aesop.archs.layers.use_plain`.
    """

    plain = False
    relative_position_index: Tensor

    def __init__(self, dim: int, num_heads: int, window: int, qkv_bias: bool) -> None:
        super().__init__()
        if dim % num_heads:
            raise UserError(f'{dim} channels cannot be shared among {num_heads} heads: change embed_dim or num_heads')
        self.num_heads = num_heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer('relative_position_index', relative_position_index(window))
        self.qkv = PixelLinear(dim, 3 * dim, bias=qkv_bias)
        self.proj = PixelLinear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, windows, window^2, C) -> the same shape; `mask` is that of `shift_mask`."""
        n, windows, pixels, dim = x.shape
        qkv = self.qkv(x).view(n, windows, pixels, 3, self.num_heads, dim // self.num_heads)
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5)  # each (N, windows, heads, pixels, dim / heads)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        # On a CPU no fused kernel computes the bias gradient, and the fallback needs extra passes.
        if self.plain or (x.device.type == 'cpu' and torch.is_grad_enabled() and bias.requires_grad):
            scores = q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1) + bias
            scores = scores if mask is None else scores + mask[:, None]
            out = scores.softmax(-1) @ v
        else:
            # The fused kernels need four dimensions and a bias that is broadcast along the first.
            if mask is not None:
                bias = (bias + mask[:, None]).flatten(0, 1)
            q, k, v = (t.flatten(0, 1) if mask is None else t.flatten(1, 2) for t in (q, k, v))
            out = fused_attention(q, k, v, bias.to(q.dtype))
        out = out.view(n, windows, self.num_heads, pixels, -1).transpose(2, 3)
        return self.proj(out.reshape(n, windows, pixels, dim))


class MLP(nn.Module):
    """Two linear layers with `ratio` times as many hidden channels."""

    def __init__(self, dim: int, ratio: float) -> None:
        super().__init__()
        self.fc1 = PixelLinear(dim, int(dim * ratio))
        self.fc2 = PixelLinear(int(dim * ratio), dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class SwinBlock(nn.Module):
    """Window attention and an MLP, each with layer normalisation before it and a skip; (N, h, w, C) -> the same shape.

    Args:
        dim, num_heads, window, qkv_bias: see WindowAttention.
        shifted: whether the windows are shifted by half their side.
        img_size: image size of the `attn_mask` in weight files. Not used in the computation.
        mlp_ratio: hidden channels of the MLP / dim.
        drop_path: in training, the probability of skipping attention or MLP for a sample (stochastic depth).
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window: int,
        shifted: bool,
        img_size: int,
        mlp_ratio: float,
        qkv_bias: bool = True,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.window = window
        self.shift = window // 2 if shifted else 0
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, num_heads, window, qkv_bias)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, mlp_ratio)
        if shifted:  # in published files, so in ours too
            self.register_buffer('attn_mask', shift_mask(img_size, img_size, window))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`mask`: `shift_mask` of the features' size."""
        x = x + self._dropped(self._attend(self.norm1(x), mask))
        return x + self._dropped(self.mlp(self.norm2(x)))

    def _attend(self, x: Tensor, mask: Tensor) -> Tensor:
        h, w = x.shape[1:3]
        if not self.shift:
            return from_windows(self.attn(to_windows(x, self.window)), h, w, self.window)
        windows = to_windows(x.roll((-self.shift, -self.shift), (1, 2)), self.window)
        return from_windows(self.attn(windows, mask), h, w, self.window).roll((self.shift, self.shift), (1, 2))

    def _dropped(self, x: Tensor) -> Tensor:
        if not self.training or not self.drop_path:
            return x
        kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop_path
        return x * kept / (1 - self.drop_path)
