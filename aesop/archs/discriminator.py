"""VGG-style discriminator of SRGAN and ESRGAN (Ledig et al., CVPR 2017, figure 4): one number an image."""

import torch.nn.functional as F
from torch import Tensor, nn

from aesop.errors import UserError
from aesop.registry import ARCHS


@ARCHS.register()
class VGGStyleDiscriminator(nn.Module):
    """(N, num_in_ch, input_size, input_size) -> (N, 1) logits.

    Each stage halves the size and doubles the channels, up to 8 * num_feat, until 3 or 4 pixels a side are left.

    Args:
        num_feat: channels of the first stage.
        input_size: side of the square input: 64, 128, 192, 256, ... (3 or 4 times a power of two).
    """

    def __init__(self, num_in_ch: int = 3, num_feat: int = 64, input_size: int = 128) -> None:
        super().__init__()
        self.stages = (input_size - 1).bit_length() - 2  # ceil(log2(input_size)) - 2
        if self.stages < 1 or input_size % 2**self.stages:
            raise UserError(f'VGGStyleDiscriminator: input_size may be 64, 128, 192 or 256, not {input_size}')
        self.input_size = input_size
        channels = num_in_ch
        for stage in range(self.stages):
            width = num_feat * min(2**stage, 8)
            # A convolution before batch normalisation needs no bias; the very first one has no normalisation.
            self.add_module(f'conv{stage}_0', nn.Conv2d(channels, width, 3, padding=1, bias=stage == 0))
            if stage > 0:
                self.add_module(f'bn{stage}_0', nn.BatchNorm2d(width))
            self.add_module(f'conv{stage}_1', nn.Conv2d(width, width, 4, stride=2, padding=1, bias=False))
            self.add_module(f'bn{stage}_1', nn.BatchNorm2d(width))
            channels = width
        self.linear1 = nn.Linear(channels * (input_size // 2**self.stages) ** 2, 100)
        self.linear2 = nn.Linear(100, 1)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2:] != (self.input_size, self.input_size):
            h, w = x.shape[-2:]
            raise UserError(
                f'VGGStyleDiscriminator was built for {self.input_size}x{self.input_size} images and got {h}x{w}: '
                f'make gt_size and the discriminator agree (VGGStyleDiscriminator128 / 192 / 256, or input_size)'
            )
        for stage in range(self.stages):
            for half in (0, 1):
                x = getattr(self, f'conv{stage}_{half}')(x)
                if stage or half:
                    x = getattr(self, f'bn{stage}_{half}')(x)
                x = F.leaky_relu(x, 0.2, inplace=True)
        return self.linear2(F.leaky_relu(self.linear1(x.flatten(1)), 0.2, inplace=True))


@ARCHS.register()
def VGGStyleDiscriminator128(num_in_ch: int = 3, num_feat: int = 64) -> VGGStyleDiscriminator:
    return VGGStyleDiscriminator(num_in_ch, num_feat, input_size=128)


@ARCHS.register()
def VGGStyleDiscriminator192(num_in_ch: int = 3, num_feat: int = 64) -> VGGStyleDiscriminator:
    return VGGStyleDiscriminator(num_in_ch, num_feat, input_size=192)


@ARCHS.register()
def VGGStyleDiscriminator256(num_in_ch: int = 3, num_feat: int = 64) -> VGGStyleDiscriminator:
    return VGGStyleDiscriminator(num_in_ch, num_feat, input_size=256)
