"""`python -m aesop.metrics` prints the table of all metrics: docs/metrics.md."""

import sys

from aesop.metrics import Row, table

HEAD = """# Metrics
<!-- Written by `python -m aesop.metrics > docs/metrics.md`. -->
An option file names a metric by its type, or by the name that published option files use. All of them round images to
8 bits first and cut off `crop_border` pixels on each side; what else a number depends on stands in the table, and in
full, with versions and the hash of all weights, under `protocol` in `metrics.json`. Those marked * are of a whole set
and not of each image.

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
