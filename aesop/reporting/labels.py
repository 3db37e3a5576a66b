"""What a metric of an option file is called in figures and tables, and which way is better."""

from aesop.evaluation.published import key_of, published
from aesop.registry import METRICS


def label_of(metric: str) -> str:
    """The paper's name of it: `LR-PSNR` for lr_psnr; a name that the paper does not have stays."""
    known = {key_of(row.metric): row.metric for row in published()}
    return known.get(key_of(metric), metric)


def better_of(metric: str) -> str | None:
    """'higher' or 'lower', by the metric that is registered under that name; None where there is none."""
    known = {key_of(name): name for name in METRICS.names()}
    name = known.get(key_of(metric))
    return name and ('higher' if METRICS.get(name).higher_is_better else 'lower')


def axis_label(metric: str) -> str:
    """E.g. 'LPIPS (lower is better)'."""
    better = better_of(metric)
    return f'{label_of(metric)} ({better} is better)' if better else label_of(metric)


def digits_of(metric: str) -> int:
    """Decimals to print: as many as the paper does, 4 where it does not have the metric."""
    return max((row.digits for row in published() if key_of(row.metric) == key_of(metric)), default=4)
