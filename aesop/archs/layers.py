"""Building blocks shared by several networks."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def init_small_(module: nn.Module) -> None:
    """Initialises every convolution inside `module`: Kaiming normal x 0.1, zero bias.

    Small weights keep the blocks of a deep residual network close to their skips at the start (ESRGAN, section 3.1).
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            with torch.no_grad():
                layer.weight.mul_(0.1)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def in_fp32(x: Tensor) -> AbstractContextManager[Any]:
    """Disables autocast on the device of `x`."""
    return nullcontext() if x.device.type == 'meta' else torch.autocast(x.device.type, enabled=False)


def conv3x3(num_in_ch: int, num_out_ch: int) -> nn.Conv2d:
    return nn.Conv2d(num_in_ch, num_out_ch, 3, padding=1)


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Reflection-pads (..., h, w) at the right and bottom until both sides are multiples of `multiple`.

    A side shorter than its padding is reflected back and forth.
    """
    for dim in (-2, -1):
        size = x.shape[dim]
        if pad := -size % multiple:
            index = torch.arange(size + pad, device=x.device) % max(2 * size - 2, 1)
            x = x.index_select(dim, torch.minimum(index, 2 * size - 2 - index))
    return x


def recomputed_blocks(use_checkpoint: bool | int, blocks: int) -> int:
    """The number of blocks that `use_checkpoint` recomputes: all (true), none (false) or the first N."""
    return blocks if use_checkpoint is True else int(use_checkpoint)


def recompute(again: bool, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """function(*inputs); with `again`, recomputed in the backward pass instead of saving activations."""
    if again and torch.is_grad_enabled():
        return checkpoint(function, *inputs, use_reentrant=False)
    return function(*inputs)


class ConstantConv2d(nn.Module):
    """A frozen convolution whose tensors are non-persistent buffers.

    A frozen network inside a trained one is thus moved and copied with it, but is neither in its `state_dict` nor seen
    by optimisers.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.padding: Any = conv.padding
        self.padding_mode = conv.padding_mode
        bias = None if conv.bias is None else conv.bias.detach()
        self.register_buffer('weight', conv.weight.detach(), persistent=False)
        self.register_buffer('bias', bias, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.padding_mode == 'zeros':
            return F.conv2d(x, self.weight, self.bias, padding=self.padding)
        vertical, horizontal = self.padding
        x = F.pad(x, [horizontal, horizontal, vertical, vertical], mode=self.padding_mode)
        return F.conv2d(x, self.weight, self.bias)


def make_constant(net: nn.Module) -> nn.Module:
    """Replaces all convolutions of `net`, of stride 1, with ConstantConv2d."""
    for parent in list(net.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv2d):
                setattr(parent, name, ConstantConv2d(layer))
    return net


def use_plain(net: nn.Module, plain: bool = True) -> nn.Module:
    """Switches layers that have an optimised form (dense blocks, window attention, VGG) to the plain one."""
    modules: list[Any] = [module for module in net.modules() if hasattr(module, 'plain')]
    for module in modules:
        module.plain = plain
    return net
