"""RRDBNet under its older names: ESRGAN's files of 2019 (`RRDB_trunk.0.RDB1.conv1.weight`), BSRGAN's, ESRGAN+'s."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aesop.archs.dense_block import RESIDUAL, SLOPE, ResidualDenseBlock
from aesop.archs.layers import conv3x3
from aesop.archs.rrdbnet import lrelu
from aesop.errors import UserError
from aesop.registry import ARCHS, CountOrZero


class PlusDenseBlock(ResidualDenseBlock):
    """ESRGAN+'s dense block (Rakotonirina and Rasoanaivo, ICASSP 2020, figure 3): two more residuals, from the input
    to the second convolution's output and from there to the fourth's. Its noise, used only in training, is omitted.
    """

    def __init__(self, num_feat: int, num_grow_ch: int) -> None:
        super().__init__(num_feat, num_grow_ch)
        self.conv1x1 = nn.Conv2d(num_feat, num_grow_ch, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        seen, residual = x, self.conv1x1(x)
        for i, conv in enumerate((self.conv1, self.conv2, self.conv3, self.conv4), 1):
            feat = F.leaky_relu(conv(seen), SLOPE)
            if i % 2 == 0:
                feat = residual = feat + residual
            seen = torch.cat((seen, feat), 1)
        return torch.add(x, self.conv5(seen), alpha=RESIDUAL)


class LegacyRRDB(nn.Module):
    """An RRDB whose layers are named RDB1.conv1 or, with `wrapped`, RDB1.conv1.0 as in the files of 2018."""

    def __init__(self, num_feat: int, num_grow_ch: int, wrapped: bool = False, plus: bool = False) -> None:
        super().__init__()
        for i in (1, 2, 3):
            block = (PlusDenseBlock if plus else ResidualDenseBlock)(num_feat, num_grow_ch)
            if wrapped:
                for name, conv in list(block.named_children()):
                    setattr(block, name, nn.Sequential(conv))
            self.add_module(f'RDB{i}', block)

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for block in self.children():
            out = block(out)
        return torch.add(x, out, alpha=RESIDUAL)


@ARCHS.register('RRDB_BSRGANNet')
class RRDBNet_LEGACY(nn.Module):
    """(N, in_nc, h, w) -> (N, out_nc, sf * h, sf * w). Unlike RRDBNet, x1 and x2 work at the input's size:
    there are log2(sf) upsamplings. At x4 and x8 both compute the same.

    Args:
        nf: channels of the trunk.
        nb: number of RRDBs.
        gc: channels added by each convolution of a dense block.
        sf: the scale: 1, 2, 4 or 8.
        plus: ESRGAN+'s dense blocks, with two more residuals each.
    """

    def __init__(
        self,
        in_nc: int = 3,
        out_nc: int = 3,
        nf: int = 64,
        nb: CountOrZero = 23,
        gc: int = 32,
        sf: int = 4,
        plus: bool = False,
    ) -> None:
        super().__init__()
        if sf not in (1, 2, 4, 8):
            raise UserError(f'RRDBNet_LEGACY and RRDB_BSRGANNet support sf 1, 2, 4 and 8, not {sf}')
        self.scale = sf
        self.conv_first = conv3x3(in_nc, nf)
        self.RRDB_trunk = nn.Sequential(*(LegacyRRDB(nf, gc, plus=plus) for _ in range(nb)))
        self.trunk_conv = conv3x3(nf, nf)
        for i in range(1, sf.bit_length()):
            self.add_module(f'upconv{i}', conv3x3(nf, nf))
        self.HRconv = conv3x3(nf, nf)
        self.conv_last = conv3x3(nf, out_nc)

    def forward(self, x: Tensor) -> Tensor:
        feat = self.conv_first(x)
        feat = feat + self.trunk_conv(self.RRDB_trunk(feat))
        for i in range(1, self.scale.bit_length()):
            upconv = getattr(self, f'upconv{i}')
            feat = lrelu(upconv(F.interpolate(feat, scale_factor=2, mode='nearest')))
        return self.conv_last(lrelu(self.HRconv(feat)))
