"""RRDBNet, the generator of ESRGAN (Wang et al., ECCVW 2018, section 3.1)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aesop.archs.layers import conv3x3, init_small_, pad_to_multiple, recompute
from aesop.errors import UserError
from aesop.registry import ARCHS


def lrelu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2, inplace=True)


class ResidualDenseBlock(nn.Module):
    """Five convolutions, each of which sees all earlier outputs; (N, num_feat, h, w) -> the same shape."""

    def __init__(self, num_feat: int, num_grow_ch: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(num_feat, num_grow_ch)
        self.conv2 = conv3x3(num_feat + num_grow_ch, num_grow_ch)
        self.conv3 = conv3x3(num_feat + 2 * num_grow_ch, num_grow_ch)
        self.conv4 = conv3x3(num_feat + 3 * num_grow_ch, num_grow_ch)
        self.conv5 = conv3x3(num_feat + 4 * num_grow_ch, num_feat)
        init_small_(self)

    def forward(self, x: Tensor) -> Tensor:
        x1 = lrelu(self.conv1(x))
        x2 = lrelu(self.conv2(torch.cat((x, x1), 1)))
        x3 = lrelu(self.conv3(torch.cat((x, x1, x2), 1)))
        x4 = lrelu(self.conv4(torch.cat((x, x1, x2, x3), 1)))
        return x + 0.2 * self.conv5(torch.cat((x, x1, x2, x3, x4), 1))


class RRDB(nn.Module):
    """Residual in residual dense block; (N, num_feat, h, w) -> the same shape."""

    def __init__(self, num_feat: int, num_grow_ch: int) -> None:
        super().__init__()
        self.rdb1 = ResidualDenseBlock(num_feat, num_grow_ch)
        self.rdb2 = ResidualDenseBlock(num_feat, num_grow_ch)
        self.rdb3 = ResidualDenseBlock(num_feat, num_grow_ch)

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.2 * self.rdb3(self.rdb2(self.rdb1(x)))


@ARCHS.register()
class RRDBNet(nn.Module):
    """(N, num_in_ch, h, w) -> (N, num_out_ch, scale * h, scale * w).

    The trunk always works at a quarter of the output's size (x8: an eighth). For x2 and x1 the input is therefore
    pixel-unshuffled first (Real-ESRGAN, section 3.4); sides that this does not divide are reflected and cropped again.

    Args:
        scale: 1, 2, 4 or 8.
        num_feat: channels of the trunk.
        num_block: number of RRDBs.
        num_grow_ch: channels that each convolution of a dense block adds.
        use_checkpoint: recompute the RRDBs in the backward pass: less memory, more time.
    """

    def __init__(
        self,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        scale: int = 4,
        num_feat: int = 64,
        num_block: int = 23,
        num_grow_ch: int = 32,
        use_checkpoint: bool = False,
    ) -> None:
        super().__init__()
        if scale not in (1, 2, 4, 8):
            raise UserError(f'RRDBNet exists for scale 1, 2, 4 and 8, not {scale}')
        self.scale, self.use_checkpoint = scale, use_checkpoint
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
        for block in self.body:
            feat = recompute(self.use_checkpoint, block, feat)
        feat = first + self.conv_body(feat)
        ups = (self.conv_up1, self.conv_up2, self.conv_up3) if self.scale == 8 else (self.conv_up1, self.conv_up2)
        for conv_up in ups:
            feat = lrelu(conv_up(F.interpolate(feat, scale_factor=2, mode='nearest')))
        out = self.conv_last(lrelu(self.conv_hr(feat)))
        return out[..., : h * self.scale, : w * self.scale]
