"""What several networks share."""

import torch.nn.functional as F
from torch import Tensor, nn


def init_small_(module: nn.Module) -> None:
    """Initialises every convolution inside `module`: Kaiming normal x 0.1, zero bias.

    Small weights keep the blocks of a deep residual network close to their skips at the start (ESRGAN, section 3.1).
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            layer.weight.data.mul_(0.1)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def conv3x3(num_in_ch: int, num_out_ch: int) -> nn.Conv2d:
    return nn.Conv2d(num_in_ch, num_out_ch, 3, padding=1)


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """(..., h, w) -> reflected at the right and the bottom until both sides are multiples of `multiple`."""
    h, w = x.shape[-2:]
    if h % multiple == 0 and w % multiple == 0:
        return x
    return F.pad(x, (0, -w % multiple, 0, -h % multiple), mode='reflect')
