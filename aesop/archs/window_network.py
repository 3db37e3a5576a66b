"""The common base of SwinIR and DRCT: shallow features, attention groups, reconstruction (SwinIR, section 3.1)."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aesop.archs.layers import conv3x3, pad_to_multiple
from aesop.archs.window_attention import shift_mask
from aesop.errors import UserError

RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K
HEAD_FEAT = 64  # channels between the trunk and the last convolution
SCALES = {'pixelshuffle': (2, 3, 4, 8), 'pixelshuffledirect': (2, 3, 4, 8), 'nearest+conv': (2, 4), '': (1,)}


def trunk_conv(dim: int, resi_connection: str) -> nn.Module:
    """The convolution that ends a group or the trunk: one (`1conv`), or a bottleneck of three (`3conv`)."""
    if resi_connection == '1conv':
        return conv3x3(dim, dim)
    if resi_connection == '3conv':
        return nn.Sequential(
            conv3x3(dim, dim // 4),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(dim // 4, dim // 4, 1),
            nn.LeakyReLU(0.2, inplace=True),
            conv3x3(dim // 4, dim),
        )
    raise UserError(f"resi_connection must be '1conv' or '3conv', not {resi_connection!r}")


def pixel_shuffle_head(num_feat: int, scale: int) -> nn.Sequential:
    """x2, x4 and x8 in steps of two, x3 in one."""
    steps = [3] if scale == 3 else [2] * (scale.bit_length() - 1)
    layers = [(conv3x3(num_feat, num_feat * step**2), nn.PixelShuffle(step)) for step in steps]
    return nn.Sequential(*(layer for pair in layers for layer in pair))


class WindowNetwork(nn.Module):
    """(N, in_chans, h, w) -> (N, in_chans, scale * h, scale * w), any h and w: padded to whole windows and cropped.

    Args:
        groups: the trunk; each takes (features (N, h, w, embed_dim), `shift_mask`) and returns features.
        upscale: the scale.
        in_chans: channels of the images.
        img_size: image size of the buffers in weight files, a multiple of the window size. Not used in the computation
            unless `ape` is set.
        window_size: side of a window in pixels.
        img_range: factor on the images inside the network.
        embed_dim: channels of the trunk.
        upsampler: head of the network: `pixelshuffle` (classical), `pixelshuffledirect` (lightweight: one step),
            `nearest+conv` (real-world: fewer artifacts) or '' (scale 1: a residual of the image).
        resi_connection: see `trunk_conv`.
        ape: add a learned absolute position embedding, which fixes the padded input size to img_size.
        patch_norm: layer normalisation before the trunk.
    """

    mean: Tensor

    def __init__(
        self,
        groups: Sequence[nn.Module],
        upscale: int,
        in_chans: int,
        img_size: int,
        window_size: int,
        img_range: float,
        embed_dim: int,
        upsampler: str,
        resi_connection: str,
        ape: bool,
        patch_norm: bool,
    ) -> None:
        super().__init__()
        kind = type(self).__name__
        if upsampler not in SCALES:
            raise UserError(f'{kind}: upsampler must be {", ".join(map(repr, SCALES))}, not {upsampler!r}')
        if upscale not in SCALES[upsampler]:
            known = ', '.join(map(str, SCALES[upsampler]))
            raise UserError(f'{kind}: upsampler {upsampler!r} supports upscale {known}, not {upscale}')
        self.scale, self.window_size, self.img_range, self.upsampler = upscale, window_size, img_range, upsampler
        mean = torch.tensor(RGB_MEAN if in_chans == 3 else (0.0,) * in_chans).view(1, -1, 1, 1)
        self.register_buffer('mean', mean, persistent=False)

        self.conv_first = conv3x3(in_chans, embed_dim)
        self.patch_embed = nn.Sequential(OrderedDict(norm=nn.LayerNorm(embed_dim)) if patch_norm else OrderedDict())
        if ape:
            self.absolute_pos_embed = nn.Parameter(torch.zeros(1, img_size**2, embed_dim))
            nn.init.trunc_normal_(self.absolute_pos_embed, std=0.02)
        self.img_size = img_size if ape else None
        self.layers = nn.ModuleList(groups)
        self.norm = nn.LayerNorm(embed_dim)
        self.conv_after_body = trunk_conv(embed_dim, resi_connection)

        if upsampler == 'pixelshuffledirect':
            self.upsample = nn.Sequential(conv3x3(embed_dim, in_chans * upscale**2), nn.PixelShuffle(upscale))
        elif upsampler == '':
            self.conv_last = conv3x3(embed_dim, in_chans)
        else:
            self.conv_before_upsample = nn.Sequential(conv3x3(embed_dim, HEAD_FEAT), nn.LeakyReLU(0.01, inplace=True))
            if upsampler == 'pixelshuffle':
                self.upsample = pixel_shuffle_head(HEAD_FEAT, upscale)
            else:
                self.conv_up1 = conv3x3(HEAD_FEAT, HEAD_FEAT)
                if upscale == 4:
                    self.conv_up2 = conv3x3(HEAD_FEAT, HEAD_FEAT)
                self.conv_hr = conv3x3(HEAD_FEAT, HEAD_FEAT)
            self.conv_last = conv3x3(HEAD_FEAT, in_chans)

        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        image = (pad_to_multiple(x, self.window_size) - self.mean) * self.img_range
        shallow = self.conv_first(image)
        out = self._reconstruct(image, shallow + self.conv_after_body(self._trunk(shallow)))
        return (out / self.img_range + self.mean)[..., : h * self.scale, : w * self.scale]

    def _trunk(self, shallow: Tensor) -> Tensor:
        h, w = shallow.shape[-2:]
        feat = self.patch_embed(shallow.permute(0, 2, 3, 1))
        if self.img_size:
            if (h, w) != (self.img_size, self.img_size):
                raise UserError(
                    f'a network with `ape: true` needs images of img_size {self.img_size}x{self.img_size}, not {h}x{w}'
                )
            feat = feat + self.absolute_pos_embed.view(1, h, w, -1)
        mask = shift_mask(h, w, self.window_size, feat.device)
        for group in self.layers:
            feat = group(feat, mask)
        return self.norm(feat).permute(0, 3, 1, 2)

    def _reconstruct(self, image: Tensor, feat: Tensor) -> Tensor:
        if self.upsampler == '':
            return image + self.conv_last(feat)
        if self.upsampler == 'pixelshuffledirect':
            return self.upsample(feat)
        feat = self.conv_before_upsample(feat)
        if self.upsampler == 'pixelshuffle':
            return self.conv_last(self.upsample(feat))
        for conv_up in (self.conv_up1, self.conv_up2) if self.scale == 4 else (self.conv_up1,):
            feat = F.leaky_relu(conv_up(F.interpolate(feat, scale_factor=2, mode='nearest')), 0.2, inplace=True)
        return self.conv_last(F.leaky_relu(self.conv_hr(feat), 0.2, inplace=True))


def check_sizes(img_size: int, window_size: int, depths: Sequence[int], num_heads: Sequence[int]) -> None:
    """Raises a UserError unless several windows tile the image and every group has a number of heads."""
    if img_size % window_size or img_size == window_size:
        raise UserError(
            f'img_size {img_size} must be a multiple of window_size {window_size}, at least twice as large: '
            f'e.g. {max(2, round(img_size / window_size)) * window_size}'
        )
    if len(depths) != len(num_heads):
        raise UserError(f'depths has {len(depths)} entries and num_heads {len(num_heads)}: give one per group')
