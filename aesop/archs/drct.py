"""DRCT (Hsu et al., CVPRW 2024): window attention with dense connections inside each group."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aesop.archs.layers import recompute, recomputed_blocks
from aesop.archs.window_attention import PixelLinear, SwinBlock
from aesop.archs.window_network import WindowNetwork, check_sizes
from aesop.registry import ARCHS

BLOCKS = 5  # per group, regardless of `depths`


class ResidualDenseGroup(nn.Module):
    """Five densely connected blocks, x 0.2, and a skip; (N, h, w, dim) -> the same shape.

    Block i has dim + (i - 1) * gc channels; `adjust` maps its output to gc channels, the last one's to dim. The second
    and fourth have shifted windows, the last two an MLP as wide as their input.
    """

    def __init__(
        self, dim: int, gc: int, num_heads: int, window: int, mlp_ratio: float, again: bool, **block: Any
    ) -> None:
        super().__init__()
        self.again = again
        for i in range(1, BLOCKS + 1):
            width = dim + (i - 1) * gc
            heads = num_heads - width % num_heads  # as published, so that the heads divide the channels evenly
            swin = SwinBlock(width, heads, window, i % 2 == 0, mlp_ratio=mlp_ratio if i < 4 else 1, **block)
            self.add_module(f'swin{i}', swin)
            self.add_module(f'adjust{i}', PixelLinear(width, gc if i < BLOCKS else dim))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        feat = feats = x
        for i in range(1, BLOCKS + 1):
            swin, adjust = getattr(self, f'swin{i}'), getattr(self, f'adjust{i}')
            feat = adjust(recompute(self.again, swin, feats, mask))
            if i < BLOCKS:
                feats = torch.cat((feats, F.leaky_relu(feat, 0.2, inplace=True)), -1)
        return torch.add(x, feat, alpha=0.2)


@ARCHS.register()
class DRCT(WindowNetwork):
    """(N, in_chans, h, w) -> (N, in_chans, upscale * h, upscale * w), any h and w.

    Args:
        depths: one entry per group; every group has five blocks regardless of its value.
        num_heads: number of attention heads per group; its wider blocks may have fewer.
        gc: channels added by each block of a group.
        mlp_ratio: hidden channels of the MLPs / their input's, in the first three blocks of a group.
        qkv_bias: biases on queries, keys and values.
        drop_path_rate: stochastic depth; it rises linearly from 0 in the first group. Training only.
        use_checkpoint: recompute the blocks in the backward pass, or those of the first N groups: less memory, more
            time.
        compress_ratio, squeeze_factor, conv_scale, overlap_ratio: in published option files; ignored.

    The others are WindowNetwork's.
    """

    def __init__(
        self,
        upscale: int = 4,
        in_chans: int = 3,
        img_size: int = 64,
        window_size: int = 16,
        img_range: float = 1.0,
        depths: Sequence[int] = (6, 6, 6, 6, 6, 6),
        embed_dim: int = 180,
        num_heads: Sequence[int] = (6, 6, 6, 6, 6, 6),
        gc: int = 32,
        mlp_ratio: float = 2.0,
        upsampler: str = 'pixelshuffle',
        resi_connection: str = '1conv',
        qkv_bias: bool = True,
        drop_path_rate: float = 0.1,
        ape: bool = False,
        patch_norm: bool = True,
        use_checkpoint: bool | int = False,
        compress_ratio: int = 3,
        squeeze_factor: int = 30,
        conv_scale: float = 0.01,
        overlap_ratio: float = 0.5,
    ) -> None:
        check_sizes(img_size, window_size, depths, num_heads)
        recomputed = recomputed_blocks(use_checkpoint, len(depths))
        groups = [
            ResidualDenseGroup(
                embed_dim,
                gc,
                heads,
                window_size,
                mlp_ratio,
                i < recomputed,
                img_size=img_size,
                qkv_bias=qkv_bias,
                drop_path=drop_path_rate * sum(depths[:i]) / max(sum(depths) - 1, 1),
            )
            for i, heads in enumerate(num_heads)
        ]
        super().__init__(
            groups,
            upscale=upscale,
            in_chans=in_chans,
            img_size=img_size,
            window_size=window_size,
            img_range=img_range,
            embed_dim=embed_dim,
            upsampler=upsampler,
            resi_connection=resi_connection,
            ape=ape,
            patch_norm=patch_norm,
        )
