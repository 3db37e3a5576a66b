"""Networks. They take RGB in [0, 1] as (N, 3, h, w) float tensors; every super-resolution network has a `scale`.

A new network is one file, one name in the list below and a `type:` in an option file.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from aesop.archs import (  # noqa: F401  (each registers itself)
    autoencoder,
    bicubic,
    discriminator,
    drct,
    mod,
    msrresnet,
    multiscale_discriminator,
    refvae,
    rrdbnet,
    rrdbnet_legacy,
    spandrel,
    spsrnet,
    srvgg,
    swinir,
)
from aesop.registry import ARCHS


def build_network(block: Mapping[str, Any]) -> nn.Module:
    """Builds the network of a `{type: ..., **arguments}` block; UserError if the block is invalid."""
    return ARCHS.build(block)
