"""Training losses. `loss(sr, gt)` gives a scalar or a dict of named scalars; GANLoss is called `gan(pred, is_real)`."""

from typing import Any

from torch import nn

from aesop.losses import (  # noqa: F401  (importing registers)
    aesop,
    feature_matching,
    gan,
    gradient,
    kl,
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


def build_loss(block: dict[str, Any]) -> nn.Module:
    """The loss that an option block `{type: NAME, **arguments}` describes; the block is left unchanged."""
    return LOSSES.build(block)
