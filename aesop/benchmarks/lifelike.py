"""Weights for benchmarks: networks that produce image-like outputs without training or downloads.

After a standard initialisation, a generator produces noise and an auto-encoder almost nothing: losses are unrealistic,
and small rounding errors have large effects. Here three channels carry RGB through the network: generators perform
nearest-neighbour upsampling, and auto-encoders average and upsample, with some random texture from the other channels
added. All weights are used, and the computation takes as long as usual.
"""

from typing import Any

import torch
from torch import Tensor, nn

from aesop.archs import vgg
from aesop.archs.autoencoder import AutoEncoder
from aesop.archs.dense_block import RESIDUAL
from aesop.archs.rrdbnet import RRDBNet
from aesop.archs.window_network import WindowNetwork

TEXTURE = 0.1  # factor of the random weights of the last convolution


@torch.no_grad()
def lifelike_(net: Any) -> nn.Module:
    """Gives an RRDBNet, SwinIR or DRCT (pixel-shuffle head), or an auto-encoder of RRDBs, such weights in place."""
    if isinstance(net, AutoEncoder):
        stem, _, blocks, (wide, narrow) = net.encoder
        phases = wide.in_channels // stem[0].out_channels  # of the pixel-unshuffle, next to each other
        for conv in stem:
            carry(conv)
        carry(wide, averaged=phases)
        wide.weight[:3] /= (1 + RESIDUAL) ** len(blocks)  # each adds its input to itself, and little else
        carry(narrow, others=TEXTURE)
        lifelike_(net.decoder)
    elif isinstance(net, RRDBNet):
        for conv in (net.conv_first, net.conv_up1, net.conv_up2, net.conv_hr):
            carry(conv)
        silence(net.conv_body)
        carry(net.conv_last, others=TEXTURE)
    elif isinstance(net, WindowNetwork):
        first: Any = net.conv_before_upsample[0]
        last: Any = net.conv_last
        carry(net.conv_first)
        silence(net.conv_after_body)
        carry(first)
        first.bias[:3] = 1  # above the kink of the ReLU: the image is around zero here
        for conv in net.upsample[::2]:
            carry(conv, repeated=4)
        carry(last, others=TEXTURE)
        last.bias[:] = -1
    return net


def carry(conv: Any, repeated: int = 1, averaged: int = 1, others: float = 0.0) -> None:
    """RGB passes through a convolution from the first input channels to the first output channels.

    Args:
        repeated: output channels in a row that each colour goes to.
        averaged: input channels in a row that each colour is the mean of.
        others: factor of what else these output channels get.
    """
    carriers = conv.weight[: 3 * repeated]
    carriers *= others
    carriers[:, : 3 * averaged] = 0
    for out in range(3 * repeated):
        colour = out // repeated
        carriers[out, colour * averaged : (colour + 1) * averaged, 1, 1] = 1 / averaged
    conv.bias[: 3 * repeated] = 0


def silence(conv: Any) -> None:
    """The channels of RGB get nothing from this convolution."""
    conv.weight[:3] = 0
    conv.bias[:3] = 0


def vgg_state() -> dict[str, Tensor]:
    """A VGG19 as torchvision's state dict, whose random features neither fade nor grow with the depth."""
    torch.manual_seed(0)
    state, channels = {}, 3
    for index, name in enumerate(vgg.layer_order('vgg19')):
        if name.startswith('conv'):
            width = vgg.CHANNELS[int(name[4]) - 1]
            weight = torch.empty(width, channels, 3, 3)
            state[f'features.{index}.weight'] = nn.init.kaiming_normal_(weight, nonlinearity='relu')
            state[f'features.{index}.bias'] = torch.zeros(width)
            channels = width
    return state
