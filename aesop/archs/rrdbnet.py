"""RRDBNet, the generator of ESRGAN (Wang et al., ECCVW 2018, section 3.1)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aesop.archs.dense_block import RESIDUAL, SLOPE, ResidualDenseBlock
from aesop.archs.layers import conv3x3, pad_to_multiple, recompute, recomputed_blocks
from aesop.errors import UserError
from aesop.registry import ARCHS, CountOrZero


def lrelu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE, inplace=True)


class RRDB(nn.Module):
    """Residual in residual dense block; (N, num_feat, h, w) -> the same shape."""

    def __init__(self, num_feat: int, num_grow_ch: int) -> None:
        super().__init__()
        self.rdb1 = ResidualDenseBlock(num_feat, num_grow_ch)
        self.rdb2 = ResidualDenseBlock(num_feat, num_grow_ch)
        self.rdb3 = ResidualDenseBlock(num_feat, num_grow_ch)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.rdb3(self.rdb2(self.rdb1(x))), alpha=RESIDUAL)


@ARCHS.register()
class RRDBNet(nn.Module):
    """(N, num_in_ch, h, w) -> (N, num_out_ch, scale * h, scale * w).

    The trunk always works at a quarter of the output size (x8: an eighth). For x2 and x1 the input is therefore
    pixel-unshuffled first (Real-ESRGAN, section 3.4); sides are padded to a multiple of its factor and cropped again.

    Args:
        scale: 1, 2, 4 or 8.
        num_feat: channels of the trunk.
        num_block: number of RRDBs.
        num_grow_ch: channels added by each convolution of a dense block.
        use_checkpoint: recompute the RRDBs in the backward pass, or the first N: less memory, more time.
    """

    def __init__(
        self,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        scale: int = 4,
        num_feat: int = 64,
        num_block: CountOrZero = 23,
        num_grow_ch: int = 32,
        use_checkpoint: bool | int = False,
    ) -> None:
        super().__init__()
        if scale not in (1, 2, 4, 8):
            raise UserError(f'RRDBNet supports scales 1, 2, 4 and 8, not {scale}')
        self.scale, self.recomputed = scale, recomputed_blocks(use_checkpoint, num_block)
        self.unshuffle = max(4 // scale, 1)
        self.conv_first = conv3x3(num_in_ch * self.unshuffle**2, num_feat)
        self.body = nn.Sequential(*(RRDB(num_feat, num_grow_ch) for _ in range(num_block)))
        self.conv_body = conv3x3(num_feat, num_feat)
        self.conv_up1 = conv3x3(num_feat, num_feat)
        self.conv_up2 = conv3x3(num_feat, num_feat)
        if scale == 8:
            self.conv_up3 = conv3x3(num_feat, num_feat)
        self.conv_hr = conv3x3(num_feat, num_feat)
        self.conv_last = conv3x3(num_feat, num_out_ch)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        first = feat = self.conv_first(F.pixel_unshuffle(pad_to_multiple(x, self.unshuffle), self.unshuffle))
        for i, block in enumerate(self.body):
            feat = recompute(i < self.recomputed, block, feat)
        feat = first + self.conv_body(feat)
        ups = (self.conv_up1, self.conv_up2, self.conv_up3) if self.scale == 8 else (self.conv_up1, self.conv_up2)
        for conv_up in ups:
            feat = lrelu(conv_up(F.interpolate(feat, scale_factor=2, mode='nearest')))
        out = self.conv_last(lrelu(self.conv_hr(feat)))
        return out[..., : h * self.scale, : w * self.scale]
