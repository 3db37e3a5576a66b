"""`python -m aesop.metrics` prints the table of all metrics: docs/metrics.md."""

import sys

from aesop.metrics import Row, table

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
    """The text of docs/metrics.md."""
    return HEAD + ''.join(_line(row) for row in table())


def _line(row: Row) -> str:
    names = ', '.join(f'`{name}`' for name in row.aliases)
    star = '' if row.per_image else '*'
    needs = ', '.join(row.needs) or 'nothing'
    return f'| `{row.name}`{star} | {names} | {row.better} | {row.value_range} | {needs} | {row.how} |\n'


if __name__ == '__main__':
    sys.stdout.write(markdown())
