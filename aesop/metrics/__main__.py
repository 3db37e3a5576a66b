"""`python -m aesop.metrics` prints the table of all metrics: docs/metrics.md."""

import sys

from aesop.metrics import Metric
from aesop.registry import METRICS

HEAD = """# Metrics
<!-- Written by `python -m aesop.metrics > docs/metrics.md`. -->
Option files refer to a metric by its type or by its name in published option files. All metrics first round images to
8 bits and crop `crop_border` pixels on each side; the rest of each protocol is in the table and, in full, with versions
and the hash of all weights, under `protocol` in `metrics.json`. Metrics marked * are computed over a whole set instead
of each image.

| type | published names | better | range | compares sr with | protocol |
|---|---|---|---|---|---|
"""


def markdown() -> str:
    """The text of docs/metrics.md: all registered metrics, including those of plugins."""
    names: dict[type[Metric], list[str]] = {}
    for name in METRICS.names():
        names.setdefault(METRICS.get(name), []).append(name)
    return HEAD + ''.join(_line(metric, called) for metric, called in names.items())


def _line(metric: type[Metric], names: list[str]) -> str:
    published = ', '.join(f'`{name}`' for name in names if name != metric.__name__)
    star = '' if metric.per_image else '*'
    better = 'higher' if metric.higher_is_better else 'lower'
    needs = ', '.join(name for name in metric.needs if name != 'sr') or 'nothing'
    return f'| `{metric.__name__}`{star} | {published} | {better} | {metric.value_range} | {needs} | {metric.how} |\n'


if __name__ == '__main__':
    sys.stdout.write(markdown())
