"""Training losses. `forward` takes quantities by argument name and returns a scalar or a dict of named scalars.

Adversarial losses are called as `gan(pred, target_is_real, is_disc)`.
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
    """Builds the loss of an option block `{type: NAME, **arguments}`; the block is left unchanged.

    The key `of`, which selects the quantities passed to the loss, is handled by the caller.
    """
    return LOSSES.build({key: value for key, value in block.items() if key != 'of'})
