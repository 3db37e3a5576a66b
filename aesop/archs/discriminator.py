"""Discriminators: VGG-style (one logit per image), U-Net (one per pixel) and PatchGAN (one per patch)."""

import torch.nn.functional as F
from torch import Tensor, nn

from aesop.archs.spectral_norm import SpectralConv2d
from aesop.errors import UserError
from aesop.registry import ARCHS


@ARCHS.register()
class VGGStyleDiscriminator(nn.Module):
    """(N, num_in_ch, input_size, input_size) -> (N, 1) logits (Ledig et al., CVPR 2017, figure 4).

    Each stage halves the size and doubles the channels, up to 8 * num_feat, until the side is 4 to 7 pixels.

    Args:
        num_feat: channels of the first stage.
        input_size: side of the square input: 64, 128, 192, 256, ... (4 to 7 times a power of two).
    """

    def __init__(self, num_in_ch: int = 3, num_feat: int = 64, input_size: int = 128) -> None:
        super().__init__()
        self.stages = input_size.bit_length() - 3  # floor(log2(input_size)) - 2
        if self.stages < 1 or input_size % 2**self.stages:
            raise UserError(f'VGGStyleDiscriminator: input_size must be 64, 128, 192 or 256, not {input_size}')
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
                f'VGGStyleDiscriminator expects {self.input_size}x{self.input_size} images, got {h}x{w}: match gt_size '
                f'and the discriminator (VGGStyleDiscriminator128 / 192 / 256, or input_size)'
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


@ARCHS.register()
class UNetDiscriminatorSN(nn.Module):
    """(N, num_in_ch, h, w) -> (N, 1, h, w) logits: a U-Net with spectral normalisation (Real-ESRGAN, section 3.3).

    Args:
        num_feat: channels at full size; each of the three downsamplings doubles them.
        skip_connection: add the encoder's features to the decoder's of the same size.
    """

    def __init__(self, num_in_ch: int = 3, num_feat: int = 64, skip_connection: bool = True) -> None:
        super().__init__()
        self.skip_connection = skip_connection
        self.conv0 = nn.Conv2d(num_in_ch, num_feat, 3, padding=1)
        for i in (1, 2, 3):
            width = num_feat * 2**i
            self.add_module(f'conv{i}', SpectralConv2d(width // 2, width, 4, 2, 1, bias=False))
        for i, width in zip(range(4, 9), (4, 2, 1, 1, 1)):
            channels = num_feat * (2 * width if i < 7 else 1)
            self.add_module(f'conv{i}', SpectralConv2d(channels, num_feat * width, 3, 1, 1, bias=False))
        self.conv9 = nn.Conv2d(num_feat, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        convs = [getattr(self, f'conv{i}') for i in range(1, 9)]
        down = [F.leaky_relu(self.conv0(x), 0.2)]
        for conv in convs[:3]:
            down.append(F.leaky_relu(conv(down[-1]), 0.2))
        x = down.pop()
        for conv in convs[3:6]:
            skip = down.pop()
            x = F.interpolate(x, skip.shape[-2:], mode='bilinear', align_corners=False)
            x = F.leaky_relu(conv(x), 0.2)
            if self.skip_connection:
                x = x + skip
        for conv in convs[6:]:
            x = F.leaky_relu(conv(x), 0.2, inplace=True)
        return self.conv9(x)


@ARCHS.register()
class Discriminator_PatchGAN(nn.Module):
    """(N, input_nc, h, w) -> (N, 1, about h / 2^n_layers, about w / 2^n_layers) logits, one for each patch.

    Isola et al., CVPR 2017, section 3.2.2: 4x4 convolutions, of which the first n_layers halve the size, each with
    twice the channels. With three of them each logit sees 70x70 pixels. Padding of 2 pixels and the names
    `model.child0.0`, ... are those of published files (KAIR's network of this name). The limit of 512 channels, which
    matters with `n_layers` above 3 or `ndf` above 64, has not been compared with KAIR's code or with a file.

    Args:
        ndf: channels of the first layer.
        n_layers: number of halvings.
        norm_type: spectral (the weights of every layer), batch or instance (all layers but the first and the last),
            or batchspectral (both).
    """

    def __init__(self, input_nc: int = 3, ndf: int = 64, n_layers: int = 3, norm_type: str = 'spectral') -> None:
        super().__init__()
        if norm_type not in ('spectral', 'batch', 'instance', 'batchspectral'):
            raise UserError(f'norm_type must be spectral, batch, instance or batchspectral, not {norm_type!r}')
        conv = SpectralConv2d if 'spectral' in norm_type else nn.Conv2d
        norm = nn.InstanceNorm2d if norm_type == 'instance' else nn.BatchNorm2d if 'batch' in norm_type else None
        self.model = nn.Sequential()
        channels = input_nc
        for i in range(n_layers + 1):
            width = max(ndf, min(ndf * 2**i, 512))
            layer = conv(channels, width, 4, stride=2 if i < n_layers else 1, padding=2)
            norms = [norm(width)] if norm and i > 0 else []
            self.model.add_module(f'child{i}', nn.Sequential(layer, *norms, nn.LeakyReLU(0.2, inplace=True)))
            channels = width
        self.model.add_module(f'child{n_layers + 1}', nn.Sequential(conv(channels, 1, 4, stride=1, padding=2)))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)
