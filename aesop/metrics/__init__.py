"""Image quality metrics on [0, 1] RGB tensors. Every score has a protocol: colour, crop, quantisation, weights."""

from collections.abc import Mapping
from typing import Any

from aesop.metrics import (  # noqa: F401  (importing registers)
    autoencoded,
    detail,
    dists,
    diversity,
    fid,
    lpips,
    lr_psnr,
    no_reference,
    ntire,
    psnr_ssim,
)
from aesop.metrics.metric import Metric
from aesop.registry import METRICS

__all__ = ['Metric', 'build_metric']


def build_metric(block: Mapping[str, Any]) -> Metric:
    """Builds the metric of an option block `{type: NAME, **arguments}`; the block is left unchanged.

    The key `over`, which aggregates several solutions, is handled by the evaluation.
    """
    return METRICS.build({key: value for key, value in block.items() if key != 'over'})
