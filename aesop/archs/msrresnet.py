"""MSRResNet: SRResNet (Ledig et al., CVPR 2017) without batch normalisation, as used for PSNR-oriented baselines."""

import torch.nn.functional as F
from torch import Tensor, nn

from aesop.archs.layers import conv3x3, init_small_
from aesop.errors import UserError
from aesop.registry import ARCHS, CountOrZero


class ResidualBlock(nn.Module):
    """conv - ReLU - conv with a skip; (N, num_feat, h, w) -> the same shape."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(num_feat, num_feat)
        self.conv2 = conv3x3(num_feat, num_feat)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x), inplace=True))


def lrelu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1, inplace=True)


@ARCHS.register()
class MSRResNet(nn.Module):
    """(N, num_in_ch, h, w) -> (N, num_out_ch, upscale * h, upscale * w): bilinear upsampling plus a learned residual.

    Args:
        num_feat: channels of the trunk.
        num_block: number of residual blocks.
        upscale: 2, 3 or 4.
    """

    def __init__(
        self, num_in_ch: int = 3, num_out_ch: int = 3, num_feat: int = 64, num_block: CountOrZero = 16, upscale: int = 4
    ) -> None:
        super().__init__()
        if upscale not in (2, 3, 4):
            raise UserError(f'MSRResNet supports upscale 2, 3 and 4, not {upscale}')
        self.scale = upscale
        self.step = 3 if upscale == 3 else 2  # x4 is x2 twice
        self.conv_first = conv3x3(num_in_ch, num_feat)
        self.body = nn.Sequential(*(ResidualBlock(num_feat) for _ in range(num_block)))
        self.upconv1 = conv3x3(num_feat, num_feat * self.step**2)
        if upscale == 4:
            self.upconv2 = conv3x3(num_feat, num_feat * self.step**2)
        self.conv_hr = conv3x3(num_feat, num_feat)
        self.conv_last = conv3x3(num_feat, num_out_ch)
        init_small_(self)

    def forward(self, x: Tensor) -> Tensor:
        feat = self.body(lrelu(self.conv_first(x)))
        for upconv in (self.upconv1, self.upconv2) if self.scale == 4 else (self.upconv1,):
            feat = lrelu(F.pixel_shuffle(upconv(feat), self.step))
        residual = self.conv_last(lrelu(self.conv_hr(feat)))
        return residual + F.interpolate(x, scale_factor=self.scale, mode='bilinear', align_corners=False)
