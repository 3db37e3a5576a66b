"""Training losses: a scalar or a dict of named ones, from the quantities that the arguments of `forward` are called.

`gan(pred, target_is_real, is_disc)` is how an adversarial loss is called.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from aesop.losses import (  # noqa: F401  (importing registers)
    aesop,
    gan,
    gradient,
    kl,
    ldl,
    lpf,
    lpips,
    perceptual,
    pixel,
    reduced,
    statistics,
    tv,
)
from aesop.losses.ldl import artifact_map
from aesop.registry import LOSSES

__all__ = ['artifact_map', 'build_loss']


def build_loss(block: Mapping[str, Any]) -> nn.Module:
    """The loss that an option block `{type: NAME, **arguments}` describes; the block is left unchanged.

    Its key `of`, which quantities the loss is given, is read by whoever calls it.
    """
    return LOSSES.build({key: value for key, value in block.items() if key != 'of'})
