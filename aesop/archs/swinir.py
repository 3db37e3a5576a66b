"""SwinIR (Liang et al., ICCVW 2021): residual groups of shifted-window attention."""

from collections.abc import Sequence

from torch import Tensor, nn

from aesop.archs.layers import recompute, recomputed_blocks
from aesop.archs.window_attention import SwinBlock
from aesop.archs.window_network import WindowNetwork, check_sizes, trunk_conv
from aesop.registry import ARCHS


class ResidualSwinGroup(nn.Module):
    """Blocks with alternately shifted windows, a convolution and a skip (section 3.2); keeps the shape (N, h, w, C)."""

    def __init__(self, blocks: Sequence[SwinBlock], dim: int, resi_connection: str, again: bool) -> None:
        super().__init__()
        self.again = again
        self.residual_group = nn.ModuleDict({'blocks': nn.ModuleList(blocks)})
        self.conv = trunk_conv(dim, resi_connection)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        feat = x
        for block in self.residual_group['blocks'].children():
            feat = recompute(self.again, block, feat, mask)
        return x + self.conv(feat.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@ARCHS.register()
class SwinIR(WindowNetwork):
    """(N, in_chans, h, w) -> (N, in_chans, upscale * h, upscale * w), any h and w.

    Args:
        depths: number of blocks of each group.
        num_heads: number of attention heads of each group.
        mlp_ratio: hidden channels of the MLPs / embed_dim.
        qkv_bias: biases on queries, keys and values.
        drop_path_rate: stochastic depth of the last block, rising linearly from 0 at the first. Training only.
        use_checkpoint: recompute the blocks in the backward pass, or those of the first N groups: less memory, more
            time.

    The others are WindowNetwork's.
    """

    def __init__(
        self,
        upscale: int = 1,
        in_chans: int = 3,
        img_size: int = 64,
        window_size: int = 8,
        img_range: float = 1.0,
        depths: Sequence[int] = (6, 6, 6, 6),
        embed_dim: int = 96,
        num_heads: Sequence[int] = (6, 6, 6, 6),
        mlp_ratio: float = 4.0,
        upsampler: str = '',
        resi_connection: str = '1conv',
        qkv_bias: bool = True,
        drop_path_rate: float = 0.1,
        ape: bool = False,
        patch_norm: bool = True,
        use_checkpoint: bool | int = False,
    ) -> None:
        check_sizes(img_size, window_size, depths, num_heads)
        groups, recomputed = [], recomputed_blocks(use_checkpoint, len(depths))
        for i, (depth, heads) in enumerate(zip(depths, num_heads)):
            drop = [drop_path_rate * (sum(depths[:i]) + j) / max(sum(depths) - 1, 1) for j in range(depth)]
            blocks = [
                SwinBlock(embed_dim, heads, window_size, j % 2 == 1, img_size, mlp_ratio, qkv_bias, drop[j])
                for j in range(depth)
            ]
            groups.append(ResidualSwinGroup(blocks, embed_dim, resi_connection, i < recomputed))
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
