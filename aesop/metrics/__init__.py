"""Image quality metrics on [0, 1] RGB tensors. Every score has a protocol: colour, crop, quantisation, weights.

`table()` lists all metrics; docs/metrics.md is generated from it (`python -m aesop.metrics`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
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

__all__ = ['Metric', 'Row', 'build_metric', 'table']


@dataclass(frozen=True)
class Row:
    """A metric's row in the table; the fields are class attributes of `Metric`."""

    name: str
    aliases: tuple[str, ...]  # its names in published option files
    better: str  # 'higher' or 'lower'
    value_range: str
    needs: tuple[str, ...]  # what sr is compared with: gt, lq
    per_image: bool
    how: str


def table() -> list[Row]:
    """All metrics, including those of plugins."""
    names: dict[type[Metric], list[str]] = {}
    for name in METRICS.names():
        names.setdefault(METRICS.get(name), []).append(name)
    return [
        Row(
            name=metric.__name__,
            aliases=tuple(name for name in called if name != metric.__name__),
            better='higher' if metric.higher_is_better else 'lower',
            value_range=metric.value_range,
            needs=tuple(name for name in metric.needs if name != 'sr'),
            per_image=metric.per_image,
            how=metric.how,
        )
        for metric, called in names.items()
    ]


def build_metric(block: Mapping[str, Any]) -> Metric:
    """Builds the metric of an option block `{type: NAME, **arguments}`; the block is left unchanged.

    The key `over`, which aggregates several solutions, is handled by the evaluation.
    """
    return METRICS.build({key: value for key, value in block.items() if key != 'over'})
