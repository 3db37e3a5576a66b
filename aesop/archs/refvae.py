"""RefVAE (Liu et al., CVPR Workshops 2021): super-resolution with a conditional VAE guided by a reference image."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aesop.archs.layers import conv3x3, in_fp32, make_constant, pad_to_multiple
from aesop.archs.vgg import VGGFeatures
from aesop.errors import UserError
from aesop.registry import ARCHS

FEATURE = 'relu4_1'  # of VGG-19: an eighth of the image's size
STRIDE = 8
CODE = (64, 16, 16)  # channels and size of the encoded feature map, for references of any size


class ResidualBlock(nn.Module):
    """(N, C, h, w) -> the same shape; the activation comes after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, channels)
        self.conv2 = conv3x3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.conv2(F.leaky_relu(self.conv1(x))))


@ARCHS.register('VAE_v3_8x', 'VAE_v3_4x')
class RefVAE(nn.Module):
    """Super-resolution with many solutions: (N, 3, h, w) and a reference -> `sr` (N, 3, scale * h, scale * w).

    VGG features of the reference are encoded as a normal distribution (`mu`, `logvar`). A code drawn from it is
    decoded and modulated by two maps computed from the features of the LR image. The code is stretched over the whole
    image, so the network cannot be applied in tiles.

    Images are RGB in [0, 1]; `sr` is not clamped. Names and shapes of the state dict are those of the published
    checkpoints (`VAE_v3_8x`, `VAE_v3_4x`: one architecture for both scales), which do not contain the VGG.

    Args:
        scale: factor of the initial bicubic upsampling: 8 or 4.
        num_feat: channels at an eighth of the output's size; the image decoder halves them at each upsampling.
        num_latent: length of the code.
        vgg_weights: file of the VGG-19 encoder: the published `vgg_r41.pth` or a torchvision state dict; 'imagenet' for
            torchvision's own.
        vgg_width: channels of the VGG's first block, for weights of a narrower network.
    """

    inputs: ClassVar[tuple[str, ...]] = ('lq', 'ref', 'noise')
    whole: ClassVar[bool] = True

    def __init__(
        self,
        scale: int = 8,
        num_feat: int = 512,
        num_latent: int = 256,
        vgg_weights: str = 'imagenet',
        vgg_width: int = 64,
    ) -> None:
        super().__init__()
        if num_feat < STRIDE or num_feat % STRIDE:
            raise UserError(f'RefVAE: num_feat is {num_feat}; set it to a multiple of {STRIDE}')
        self.scale = scale
        self.noise_shape = (num_latent,)
        # Frozen, with weights in a separate file
        vgg = VGGFeatures([FEATURE], weights=vgg_weights, padding_mode='reflect', width=vgg_width)
        self.vgg: Any = make_constant(vgg)

        channels, (code, side, _) = 8 * vgg_width, CODE
        self.init_feat = nn.Sequential(
            nn.Conv2d(channels, code, 1),
            nn.BatchNorm2d(code),
            nn.LeakyReLU(),
            conv3x3(code, code),
            nn.BatchNorm2d(code),
            nn.LeakyReLU(),
        )
        self.VAE_encoder = nn.Sequential(nn.Linear(code * side**2, 2 * num_latent))
        self.VAE_decoder = nn.Sequential(nn.Linear(num_latent, code * side**2))
        self.dec_feat = nn.Sequential(nn.Conv2d(code, num_feat, 1), ResidualBlock(num_feat))
        self.mask = nn.Sequential(
            nn.Conv2d(channels, num_feat, 1),
            *(ResidualBlock(num_feat) for _ in range(3)),
            nn.Conv2d(num_feat, 2 * num_feat, 1),
        )
        layers: list[nn.Module] = []
        for width in (num_feat, num_feat // 2, num_feat // 4):
            layers += [nn.Upsample(scale_factor=2, mode='bilinear'), conv3x3(width, width // 2), nn.LeakyReLU()]
        width = num_feat // STRIDE
        self.decoder = nn.Sequential(*layers, nn.Conv2d(width, width, 1), nn.LeakyReLU(), conv3x3(width, 3))

        self.bn = nn.BatchNorm1d(num_latent)  # in the published checkpoints, but unused
        self.bn.requires_grad_(False)
        # Removed by the normalisation: their gradients are rounding noise, which Adam would turn into steps
        for conv in (self.init_feat[0], self.init_feat[3]):
            conv.bias.requires_grad_(False)

    @property
    def protocol(self) -> dict[str, str]:
        """What results depend on beside the file of weights, for result files."""
        return {'vgg': self.vgg.source}

    def forward(self, lq: Tensor, ref: Tensor | None = None, noise: Tensor | None = None) -> dict[str, Tensor]:
        """`sr`, `mu` and `logvar` (N, num_latent), the latter two in float32 under autocast too.

        Args:
            lq: (N, 3, h, w) of any size.
            ref: (N, 3 or 1, H, W) of any size; None: the LR image is its own reference.
            noise: (N, num_latent) from N(0, 1): the code is mu + noise * exp(logvar / 2). None: drawn in training mode;
                in evaluation mode the code is mu.
        """
        enlarged, feature = self._enlarge(lq)
        mu, logvar = self._posterior(feature) if ref is None else self.encode(ref)
        if noise is None and self.training:
            noise = torch.randn_like(mu)
        z = mu if noise is None else mu + noise * (logvar / 2).exp()
        return {'sr': self._decode(enlarged, feature, z), 'mu': mu, 'logvar': logvar}

    def encode(self, ref: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3 or 1, H, W) -> mean and log variance of the code, (N, num_latent) each."""
        ref = ref.expand(-1, 3, -1, -1)
        if min(ref.shape[-2:]) < 2 * STRIDE:  # smaller ones cannot be reflection-padded after three poolings
            ref = F.interpolate(ref, [max(size, 2 * STRIDE) for size in ref.shape[-2:]], mode='bilinear')
        return self._posterior(self.vgg(ref)[FEATURE])

    def decode(self, lq: Tensor, z: Tensor) -> Tensor:
        """Decodes a given code, e.g. drawn from N(0, I): (N, 3, h, w), (N, num_latent) -> `sr`."""
        return self._decode(*self._enlarge(lq), z)

    def masks(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and scale (minus 1) of the decoded code, computed from the LR image's feature."""
        shift, scale = self.mask(feature).chunk(2, dim=1)
        return shift, scale

    def _enlarge(self, lq: Tensor) -> tuple[Tensor, Tensor]:
        """The LR image upsampled to the output size, and its VGG feature, with sides rounded up."""
        enlarged = F.interpolate(lq, scale_factor=self.scale, mode='bicubic', align_corners=False)
        padded = pad_to_multiple(enlarged, STRIDE if min(enlarged.shape[-2:]) > STRIDE else 2 * STRIDE)
        return enlarged, self.vgg(padded)[FEATURE]

    def _posterior(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        code = F.interpolate(self.init_feat(feature), CODE[1:], mode='bilinear', align_corners=False)
        with in_fp32(code):  # logvar enters an exponential
            code = code.to(next(self.VAE_encoder.parameters()).dtype).flatten(1)
            mu, logvar = self.VAE_encoder(code).chunk(2, dim=1)
        return mu, logvar

    def _decode(self, enlarged: Tensor, feature: Tensor, z: Tensor) -> Tensor:
        code = self.VAE_decoder(z).view(-1, *CODE)
        code = self.dec_feat(F.interpolate(code, feature.shape[-2:], mode='bilinear', align_corners=False))
        shift, scale = self.masks(feature)
        height, width = enlarged.shape[-2:]
        return enlarged + self.decoder(code * (1 + scale) + shift)[..., :height, :width]
