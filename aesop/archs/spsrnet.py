"""SPSR (Ma et al., CVPR 2020): an RRDB network guided by a second branch that restores the image's gradient map."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aesop.archs.layers import conv3x3
from aesop.archs.rrdbnet_legacy import LegacyRRDB
from aesop.errors import UserError
from aesop.registry import ARCHS, CountOrZero

TAPS = (5, 10, 15, 20)  # RRDBs of the trunk whose outputs feed the gradient branch


def gradient_filters() -> tuple[Tensor, Tensor]:
    """Central differences, down and to the right, (1, 1, 3, 3) each."""
    vertical = torch.zeros(1, 1, 3, 3)
    vertical[0, 0, 0, 1], vertical[0, 0, 2, 1] = -1, 1
    return vertical, vertical.mT.contiguous()


class GradientMap(nn.Module):
    """(N, C, h, w) -> (N, C, h, w): magnitude of each channel's gradient (section 3.1), with zero padding."""

    def __init__(self) -> None:
        super().__init__()
        vertical, horizontal = gradient_filters()
        self.weight_h = nn.Parameter(
            horizontal, requires_grad=False
        )  # parameters in published files, but never trained
        self.weight_v = nn.Parameter(vertical, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.flatten(0, 1)[:, None]
        dy, dx = (F.conv2d(channels, weight, padding=1) for weight in (self.weight_v, self.weight_h))
        return (dy.square() + dx.square() + 1e-6).sqrt().view_as(x)


def lrelu() -> nn.LeakyReLU:
    return nn.LeakyReLU(0.2, inplace=True)


def upsampling(num_feat: int) -> list[nn.Module]:
    """x4 in two steps."""
    step = [nn.Upsample(scale_factor=2, mode='nearest'), conv3x3(num_feat, num_feat), lrelu()]
    return [*step, nn.Upsample(scale_factor=2, mode='nearest'), conv3x3(num_feat, num_feat), lrelu()]


class Trunk(nn.Module):
    """RRDBs, a last convolution and a skip; returns the output and the features at TAPS."""

    def __init__(self, num_feat: int, num_block: int, num_grow_ch: int) -> None:
        super().__init__()
        blocks = (LegacyRRDB(num_feat, num_grow_ch, wrapped=True) for _ in range(num_block))
        self.sub = nn.Sequential(*blocks, conv3x3(num_feat, num_feat))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        feat, tapped = x, []
        for i, block in enumerate(self.sub, 1):
            feat = block(feat)
            if i in TAPS:
                tapped.append(feat)
        return x + feat, tapped


@ARCHS.register()
class SPSRNet(nn.Module):
    """(N, in_nc, h, w) -> (N, out_nc, 4h, 4w).

    Args:
        nf: channels of both branches.
        nb: number of RRDBs of the trunk, at least 20: the gradient branch uses the 5th, 10th, 15th and 20th.
        gc: channels added by each convolution of a dense block.
    """

    scale = 4
    optional_outputs = ('branch',)
    published_aliases = {'model.8.': 'HR_conv0_new.0.'}  # published checkpoints contain this convolution twice

    def __init__(self, in_nc: int = 3, out_nc: int = 3, nf: int = 64, nb: CountOrZero = 23, gc: int = 32) -> None:
        super().__init__()
        if nb < TAPS[-1]:
            raise UserError(f'SPSRNet needs nb >= {TAPS[-1]}, not {nb}: its gradient branch uses that many blocks')
        self.model = nn.Sequential(conv3x3(in_nc, nf), Trunk(nf, nb, gc), *upsampling(nf), conv3x3(nf, nf), lrelu())
        self.HR_conv1_new = nn.Sequential(conv3x3(nf, nf))

        self.get_g_nopadding = GradientMap()
        self.b_fea_conv = nn.Sequential(conv3x3(in_nc, nf))
        for i in range(1, len(TAPS) + 1):
            self.add_module(f'b_block_{i}', LegacyRRDB(2 * nf, gc, wrapped=True))
            self.add_module(f'b_concat_{i}', nn.Sequential(conv3x3(2 * nf, nf)))
        self.b_LR_conv = nn.Sequential(conv3x3(nf, nf))
        self.b_module = nn.Sequential(*upsampling(nf), conv3x3(nf, nf), lrelu(), conv3x3(nf, nf))
        self.conv_w = nn.Sequential(nn.Conv2d(nf, out_nc, 1))

        self.f_block = LegacyRRDB(2 * nf, gc, wrapped=True)
        self.f_concat = nn.Sequential(conv3x3(2 * nf, nf))
        self.f_HR_conv0 = nn.Sequential(conv3x3(nf, nf), lrelu())
        self.f_HR_conv1 = nn.Sequential(conv3x3(nf, out_nc))

    def forward(self, x: Tensor, also: Sequence[str] = ()) -> Tensor | dict[str, Tensor]:
        """The SR image; with `also=('branch',)`, {'sr': image, 'branch': the gradient map restored by the branch}."""
        feat, tapped = self.model[1](self.model[0](x))
        feat = self.HR_conv1_new(self.model[2:](feat))

        first = branch = self.b_fea_conv(self.get_g_nopadding(x))
        for i, tap in enumerate(tapped, 1):
            block, concat = getattr(self, f'b_block_{i}'), getattr(self, f'b_concat_{i}')
            branch = concat(block(torch.cat((branch, tap), 1)))
        branch = self.b_module(first + self.b_LR_conv(branch))

        fused = self.f_concat(self.f_block(torch.cat((branch, feat), 1)))
        out = self.f_HR_conv1(self.f_HR_conv0(fused))
        return {'sr': out, 'branch': self.conv_w(branch)} if 'branch' in also else out
