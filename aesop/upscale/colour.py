"""Colours of the result as in the input: generative networks shift them, tile by tile at worst.

Both corrections take the network's detail and the input's colours; for networks that shift none they change next to
nothing, and cost sharpness at worst.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from aesop.utils.imresize import imresize

LEVELS = 5  # the coarsest one spans 2^5 pixels of the result to each side


def adain(sr: Tensor, lq: Tensor) -> Tensor:
    """Adaptive instance normalisation (Huang and Belongie, ICCV 2017): each channel of `sr` gets the mean and the
    deviation that it has in `lq`. (N, 3, H, W), (N, 3, h, w) -> (N, 3, H, W)."""
    deviation, mean = torch.std_mean(sr, (-2, -1), keepdim=True)
    wanted_deviation, wanted_mean = torch.std_mean(lq, (-2, -1), keepdim=True)
    return (sr - mean) / (deviation + 1e-6) * wanted_deviation + wanted_mean


def wavelet(sr: Tensor, lq: Tensor) -> Tensor:
    """The coarse part of `sr` is that of the enlarged `lq` (Wang et al., StableSR, IJCV 2024, section 3.3).

    (N, 3, H, W), (N, 3, h, w) -> (N, 3, H, W).
    """
    enlarged = imresize(lq, sr.shape[-1] / lq.shape[-1]).to(sr)
    return sr + coarse(enlarged - sr)


def coarse(x: Tensor, levels: int = LEVELS) -> Tensor:
    """The rest of (N, C, H, W) after this many levels of an undecimated wavelet decomposition (à trous, binomial)."""
    taps = x.new_tensor([0.25, 0.5, 0.25])
    channels = x.shape[1]
    for level in range(levels):
        step = 2**level
        for kernel, pad in (
            (taps.view(1, 1, 3, 1), (0, 0, step, step)),
            (taps.view(1, 1, 1, 3), (step, step, 0, 0)),
        ):
            x = F.pad(x, pad, mode='replicate')
            x = F.conv2d(x, kernel.expand(channels, 1, *kernel.shape[2:]), dilation=step, groups=channels)
    return x


CORRECTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {'adain': adain, 'wavelet': wavelet}
