"""The residual dense block of ESRGAN (Wang et al., ECCVW 2018, figure 4), where RRDB networks spend most time.

Each convolution takes the concatenation of all previous outputs. PyTorch saves all of these for the backward pass,
5 num_feat + 14 num_grow_ch channels with the outputs; here only the parts are saved, num_feat + 4 num_grow_ch channels,
and concatenated again: a quarter of the memory at no extra time.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from aesop.archs.layers import conv3x3, init_small_

SLOPE = 0.2  # of the leaky ReLU
RESIDUAL = 0.2  # factor of each residual


def is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


class ResidualDenseBlock(nn.Module):
    """Five densely connected convolutions; (N, num_feat, h, w) -> the same shape.

    Attributes:
        plain: let autograd compute the gradients; see `aesop.archs.layers.use_plain`.
    """

    plain = False

    def __init__(self, num_feat: int, num_grow_ch: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(num_feat, num_grow_ch)
        self.conv2 = conv3x3(num_feat + num_grow_ch, num_grow_ch)
        self.conv3 = conv3x3(num_feat + 2 * num_grow_ch, num_grow_ch)
        self.conv4 = conv3x3(num_feat + 3 * num_grow_ch, num_grow_ch)
        self.conv5 = conv3x3(num_feat + 4 * num_grow_ch, num_feat)
        init_small_(self)

    def forward(self, x: Tensor) -> Tensor:
        convs = (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5)
        if (
            torch.is_grad_enabled() and not self.plain and not torch.compiler.is_compiling()
        ):  # torch.compile optimises the plain form itself
            inner = [layer for layer in self.modules() if isinstance(layer, nn.Conv2d)]  # some are inside a Sequential
            parameters = tuple(tensor for conv in inner for tensor in (conv.weight, conv.bias))
            if any(t is not None and t.requires_grad for t in (x, *parameters)):
                return _DenseBlock.apply(x, *parameters)
        seen = x
        for conv in convs[:-1]:
            seen = torch.cat((seen, F.leaky_relu(conv(seen), SLOPE, inplace=True)), 1)
        return torch.add(x, self.conv5(seen), alpha=RESIDUAL)


class _DenseBlock(torch.autograd.Function):
    """The same arithmetic with a custom backward pass. Under autocast, tensors are saved in the autocast dtype."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        weights, biases = parameters[::2], parameters[1::2]
        seen, outputs = x, []
        for i in range(4):
            outputs.append(F.leaky_relu(F.conv2d(seen, weights[i], biases[i], padding=1), SLOPE, inplace=True))
            seen = torch.cat((seen, outputs[-1]), 1)
            if i == 0:  # under autocast: cast once for both passes
                weights = [weight.to(outputs[0].dtype) for weight in weights]
        ctx.frozen = not any(ctx.needs_input_grad[1:])
        # Frozen convolutions do not need their inputs, and the ReLUs only need the signs of the outputs.
        ctx.save_for_backward(*weights, *outputs, *(() if ctx.frozen else (x,)))
        return torch.add(x, F.conv2d(seen, weights[-1], biases[-1], padding=1), alpha=RESIDUAL)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  (as torch's documentation has it)
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # under checkpointing they can be read only once
        weights, outputs, inputs = saved[:5], saved[5:9], saved[9:]
        dtype = outputs[0].dtype
        of_out = (RESIDUAL * gradient).to(dtype)
        of_seen: Any = None  # gradient of the concatenation, from all convolutions that take it
        of_parameters: list[Tensor | None] = []
        for i in (4, 3, 2, 1, 0):
            if ctx.frozen:  # only the layout matters, so it is left uninitialised
                n, _, h, w = gradient.shape
                layout = torch.channels_last if is_channels_last(of_out) else torch.contiguous_format
                shape = (n, weights[i].shape[1], h, w)
                seen = torch.empty(shape, dtype=dtype, device=of_out.device, memory_format=layout)
            else:
                seen = torch.cat((*inputs, *outputs[:i]), 1).to(dtype) if i else inputs[0].to(dtype)
            of_input, of_weight, of_bias = torch.ops.aten.convolution_backward(
                of_out,
                seen,
                weights[i],
                bias_sizes=[weights[i].shape[0]],
                stride=(1, 1),
                padding=(1, 1),
                dilation=(1, 1),
                transposed=False,
                output_padding=(0, 0),
                groups=1,
                output_mask=(True, not ctx.frozen, not ctx.frozen),
            )
            of_seen = of_input if of_seen is None else of_input.add_(of_seen[:, : of_input.shape[1]])
            of_parameters += [of_bias, of_weight]
            if i:
                before = outputs[i - 1]
                of_out = torch.ops.aten.leaky_relu_backward(of_seen[:, -before.shape[1] :], before, SLOPE, True)
        return gradient + of_seen, *reversed(of_parameters)
