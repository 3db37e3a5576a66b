"""Loads the auto-encoder of an option file and applies it to images."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from aesop.archs import build_network
from aesop.archs.autoencoder import AutoEncoder
from aesop.errors import UserError, error_context
from aesop.losses.aesop import build_frozen_autoencoder
from aesop.options import Options
from aesop.utils.checkpoint import load_network


def autoencoder_of(options: Options) -> nn.Module:
    """The pretrained auto-encoder of an option file, in eval mode without gradients, on a GPU if there is one.

    Taken from `aesop_opt` or an AEPSNR metric, otherwise `network_g` if it is an auto-encoder.

    Raises:
        UserError: the file has no auto-encoder, or no weights for it.
    """
    return _network(options).to('cuda' if torch.cuda.is_available() else 'cpu')


@torch.inference_mode()
def auto_encode(ae: nn.Module, image: Tensor) -> Tensor:
    """AE(image) of a (3, H, W) image in [0, 1], not clamped; computed on the device of `ae`, returned on the CPU."""
    device = next((parameter.device for parameter in ae.parameters()), 'cpu')
    return ae(image[None].to(device))[0].cpu()


def _network(options: Options) -> nn.Module:
    block = next((block for block in _blocks(options.to_dict()) if 'autoencoder_arch' in block), None)
    if block is not None:
        if not block.get('autoencoder_load'):
            raise UserError('autoencoder_load is missing: an auto-encoder with random weights shows nothing')
        return build_frozen_autoencoder(block['autoencoder_arch'], block['autoencoder_load'])
    net = build_network(options.network_g) if options.network_g else None
    if not isinstance(net, AutoEncoder):
        raise UserError('no auto-encoder is named: neither train.aesop_opt, nor an AEPSNR, nor network_g is one')
    path, key, strict = options.path.weights('g')
    if path is None:
        raise UserError('path.pretrain_network_g is missing: an auto-encoder with random weights shows nothing')
    with error_context('path.pretrain_network_g'):
        load_network(net, path, key, strict)
    return net.eval().requires_grad_(False)


def _blocks(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield block
    for value in block.values():
        if isinstance(value, dict):
            yield from _blocks(value)
