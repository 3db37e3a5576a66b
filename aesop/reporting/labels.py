"""Labels, directions and decimals of metrics in figures and tables."""

from aesop.evaluation.published import key_of, published
from aesop.registry import METRICS


def label_of(metric: str) -> str:
    """The paper's name of a metric, e.g. `LR-PSNR` for lr_psnr; unchanged if it is not in the paper."""
    known = {key_of(row.metric): row.metric for row in published()}
    return known.get(key_of(metric), metric)


def better_of(metric: str) -> str | None:
    """'higher' or 'lower' for a registered metric, otherwise None."""
    known = {key_of(name): name for name in METRICS.names()}
    name = known.get(key_of(metric))
    return name and ('higher' if METRICS.get(name).higher_is_better else 'lower')


def axis_label(metric: str) -> str:
    """E.g. 'LPIPS (lower is better)'."""
    better = better_of(metric)
    return f'{label_of(metric)} ({better} is better)' if better else label_of(metric)


def digits_of(metric: str) -> int:
    """The number of decimals in the paper, or 4 for metrics not in it."""
    return max((row.digits for row in published() if key_of(row.metric) == key_of(metric)), default=4)
