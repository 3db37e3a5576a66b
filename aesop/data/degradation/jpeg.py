"""JPEG compression on the device: the loss of baseline JPEG (ITU-T T.81) with 4:2:0 chroma, without encoding a file."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# T.81, tables K.1 and K.2, at quality 50
_LUMA = [
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
]
_CHROMA = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]  # 99 everywhere else
# RGB to YCbCr of JFIF (BT.601, full range)
_TO_YCC = [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
_TO_RGB = [[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]]


def jpeg(images: Tensor, quality: Tensor) -> Tensor:
    """Compresses each image with its own quality. Values are rounded where libjpeg rounds: on photographs the results
    differ by less than 0.2 of 255 on average. Not differentiable.

    Sums are in float64, so that neither TF32 nor autocast changes how a coefficient is rounded.

    Args:
        images: (N, 3, H, W) RGB; clamped to [0, 1].
        quality: (N,), 1 to 100 on libjpeg's scale; fractions are allowed.

    Returns:
        (N, 3, H, W) in [0, 1], in steps of 1/255.
    """
    height, width = images.shape[-2:]
    rgb = (images.clamp(0, 1) * 255).round().double()
    centre = rgb.new_tensor([0, 128, 128]).view(3, 1, 1)
    ycc = (_mixed(_TO_YCC, rgb) + centre - 1e-4).round()  # half-way values go down here, up after the DCT
    ycc = F.pad(ycc, (0, -width % 16, 0, -height % 16), mode='replicate')
    luma = _requantised(ycc[:, :1], torch.tensor(_LUMA), quality)
    halved = 4 * F.avg_pool2d(ycc[:, 1:], 2)
    halved = ((halved + 1 + torch.arange(halved.shape[-1], device=rgb.device) % 2) / 4).floor()  # ties up, ties down
    chroma = _requantised(halved, F.pad(torch.tensor(_CHROMA), (0, 4, 0, 4), value=99), quality)
    # the decoder's triangle filter uses no sample outside the image
    chroma = chroma[..., : math.ceil(height / 2), : math.ceil(width / 2)]
    chroma = F.interpolate(chroma, scale_factor=2, mode='bilinear', align_corners=False).round()
    ycc = torch.cat([luma[..., :height, :width], chroma[..., :height, :width]], dim=1)
    rgb = _mixed(_TO_RGB, ycc - centre).round().clamp(0, 255)
    return (rgb / 255).to(images.dtype)


def _mixed(matrix: list[list[float]], planes: Tensor) -> Tensor:
    return torch.einsum('oc,nchw->nohw', planes.new_tensor(matrix), planes)


def _requantised(planes: Tensor, table: Tensor, quality: Tensor) -> Tensor:
    """Quantises the DCT of 8x8 blocks: (N, C, H, W) in 0 to 255, sides are multiples of 8."""
    quality = quality.to(planes).view(-1, 1, 1)
    percent = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality).floor()
    step = ((table.to(planes) * percent + 50) / 100).floor().clamp(1, 255)[:, None, None, :, None, :]
    frequency = torch.arange(8, dtype=planes.dtype, device=planes.device)
    dct = torch.cos((2 * frequency + 1) * frequency[:, None] * math.pi / 16) / 2
    dct[0] /= math.sqrt(2)
    blocks = planes.unflatten(-1, (-1, 8)).unflatten(-3, (-1, 8)) - 128
    eighths = (8 * torch.einsum('ui,nchiwj,vj->nchuwv', dct, blocks, dct)).round()  # the encoder's integers
    coefficients = ((eighths.abs() + 4 * step) / (8 * step)).floor() * eighths.sign() * step
    blocks = torch.einsum('ui,nchuwv,vj->nchiwj', dct, coefficients, dct) + 128
    return (blocks + 1e-4).round().clamp(0, 255).flatten(-2).flatten(-3, -2)
