"""An architecture file as people write them for BasicSR: attention in windows; images have to be whole windows."""

import torch
import torch.nn as nn

from basicsr.archs.arch_util import to_2tuple, trunc_normal_
from basicsr.utils.registry import ARCH_REGISTRY


class WindowAttention(nn.Module):
    def __init__(self, dim, window_size):
        super().__init__()
        self.window = to_2tuple(window_size)
        self.qkv = nn.Linear(dim, 3 * dim)
        trunc_normal_(self.qkv.weight, std=0.02)

    def forward(self, x):
        b, c, h, w = x.shape
        wh, ww = self.window
        x = x.view(b, c, h // wh, wh, w // ww, ww).permute(0, 2, 4, 3, 5, 1).reshape(-1, wh * ww, c)
        q, k, v = self.qkv(x).chunk(3, -1)
        x = torch.softmax(q @ k.transpose(1, 2) / c**0.5, -1) @ v
        x = x.view(b, h // wh, w // ww, wh, ww, c).permute(0, 5, 1, 3, 2, 4)
        return x.reshape(b, c, h, w)


@ARCH_REGISTRY.register()
class TinyWindows(nn.Module):
    def __init__(self, upscale=2, embed_dim=8, window_size=8, depth=1):
        super().__init__()
        self.window_size = window_size
        self.first = nn.Conv2d(3, embed_dim, 3, 1, 1)
        self.blocks = nn.ModuleList([WindowAttention(embed_dim, window_size) for _ in range(depth)])
        self.last = nn.Sequential(nn.Conv2d(embed_dim, 3 * upscale**2, 3, 1, 1), nn.PixelShuffle(upscale))

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.last(x)
