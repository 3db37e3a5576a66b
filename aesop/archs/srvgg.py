"""SRVGGNetCompact, the small network of Real-ESRGAN (Wang et al., ICCVW 2021): all layers at the input's size."""

import torch.nn.functional as F
from torch import Tensor, nn

from aesop.archs.layers import conv3x3
from aesop.errors import UserError
from aesop.registry import ARCHS

ACTIVATIONS = {
    'relu': lambda num_feat: nn.ReLU(inplace=True),
    'prelu': lambda num_feat: nn.PReLU(num_feat),
    'leakyrelu': lambda num_feat: nn.LeakyReLU(0.1, inplace=True),
}


@ARCHS.register()
class SRVGGNetCompact(nn.Module):
    """(N, num_in_ch, h, w) -> (N, num_out_ch, upscale * h, upscale * w): nearest upsampling plus a learned residual.

    Args:
        num_feat: channels of the hidden layers.
        num_conv: number of convolutions between the first and the last.
        upscale: the scale, any integer.
        act_type: relu, prelu or leakyrelu.
    """

    def __init__(
        self,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 64,
        num_conv: int = 16,
        upscale: int = 4,
        act_type: str = 'prelu',
    ) -> None:
        super().__init__()
        if act_type not in ACTIVATIONS:
            raise UserError(f'SRVGGNetCompact: act_type must be {", ".join(ACTIVATIONS)}, not {act_type!r}')
        self.scale = upscale
        widths = [num_in_ch] + [num_feat] * (num_conv + 1)
        hidden = [
            layer
            for width, following in zip(widths, widths[1:])
            for layer in (conv3x3(width, following), ACTIVATIONS[act_type](following))
        ]
        self.body = nn.Sequential(*hidden, conv3x3(num_feat, num_out_ch * upscale**2))

    def forward(self, x: Tensor) -> Tensor:
        residual = F.pixel_shuffle(self.body(x), self.scale)
        return residual + F.interpolate(x, scale_factor=self.scale, mode='nearest')
