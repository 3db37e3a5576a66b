"""Published numbers with their sources, from `published_results.json`."""

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from aesop.errors import UserError
from aesop.registry import did_you_mean

FILE = Path(__file__).with_name('published_results.json')
# Our metric names -> the paper's, both as normalised by `key_of`.
SAME = {'stabilisedpsnr': 'psnr', 'patchfid': 'pfid', 'clipiqaresnet': 'clipiqa'}


@dataclass(frozen=True)
class Published:
    """A published number.

    Attributes:
        backbone, patch: None if neither the table nor the text gives one.
        digits: number of printed decimals.
        source, table, row, column: where it is published.
        note: remark on that table.
        disputed: whether another table gives a different value.
    """

    method: str
    backbone: str | None
    patch: int | None
    scale: int
    dataset: str
    metric: str
    value: float
    digits: int
    source: str
    table: str
    row: str
    column: str
    note: str
    disputed: bool

    @property
    def name(self) -> str:
        """The name of a column in this project, e.g. `RRDB AESOP 128`; includes the scale unless it is 4."""
        scale = None if self.scale == 4 else f'x{self.scale}'
        return ' '.join(str(part) for part in (self.backbone, self.method, self.patch, scale) if part is not None)


@cache
def published() -> tuple[Published, ...]:
    """All published numbers, in the order of the tables.

    Raises:
        UserError: the file with the numbers is missing.
    """
    if not FILE.is_file():
        raise UserError(f'{FILE}: file not found; it contains the published numbers and is part of the project')
    content = json.loads(FILE.read_text(encoding='utf-8'), parse_float=Decimal)
    keys = ('backbone', 'method', 'patch', 'scale', 'dataset', 'metric')
    disputed = {tuple(({'scale': 4} | entry)[key] for key in keys) for entry in content['disagreements']}
    rows = []
    for table in content['tables']:
        for row in table['rows']:
            for column, value in zip(table['columns'], row['values'], strict=True):
                if value is None:
                    continue
                where: dict[str, Any] = {'scale': 4, **table.get('common', {}), **column, **row}
                key = {name: where[name] for name in keys}
                place = {'source': table['source'], 'table': table['table'], 'note': table.get('note', '')}
                place |= {'row': row['label'], 'column': column['label'], 'disputed': tuple(key.values()) in disputed}
                rows.append(
                    Published(**key, **place, value=float(value), digits=-int(Decimal(value).as_tuple().exponent))
                )
    return tuple(rows)


def find(
    name: str | None = None,
    *,
    method: str | None = None,
    backbone: str | None = None,
    patch: int | None = None,
    scale: int | None = None,
    dataset: str | None = None,
    metric: str | None = None,
) -> list[Published]:
    """The published numbers that match all arguments; several if more than one table has such a number.

    Args:
        name: a :attr:`Published.name`, e.g. `RRDB AESOP 128`; case and spaces are ignored.
        dataset, metric: case and punctuation are ignored: `lr_psnr`, `LRPSNR` and `LR-PSNR` are the same.

    Raises:
        UserError: there is no column of that name.
    """
    known = {key_of(other): other for other in names()}
    if name is not None and key_of(name) not in known:
        listed = ', '.join(known.values())
        raise UserError(
            f'"{name}" is not a published column; there are {listed}.{did_you_mean(name, list(known.values()))}'
        )
    wanted = {'name': name, 'method': method, 'dataset': dataset, 'metric': metric}
    keys = {field: key_of(value) for field, value in wanted.items() if value is not None}
    return [
        row
        for row in published()
        if all(key_of(getattr(row, field)) == key for field, key in keys.items())
        and backbone in (None, row.backbone)
        and patch in (None, row.patch)
        and scale in (None, row.scale)
    ]


def names() -> list[str]:
    """The valid values for `name` in :func:`find`, in the order of the tables."""
    return list(dict.fromkeys(row.name for row in published()))


def other_protocol(protocol: dict[str, Any], row: Published | None = None) -> str:
    """How the protocol of a metric differs from that of a published number; '' if no difference is known.

    Args:
        protocol: of the metric, as in `metrics.json`.
        row: the published number; None stands for the AESOP paper (Appendix A, all at x4).
    """
    kind = protocol.get('metric')
    if row and row.source == 'refvae' and kind == 'LRPSNR':
        return 'bicubic downscaling with and not without antialiasing'
    if row and row.source == 'ntire':
        return ''
    border = row.scale if row else 4
    if kind == 'AEPSNR':
        return "another auto-encoder and not the paper's"
    if kind in ('PSNR', 'StabilisedPSNR', 'SSIM'):
        wanted = {'colour': 'Y (BT.601)', 'crop_border': border}
    else:
        wanted = {'backbone': 'alexnet', 'crop_border': 0} if kind == 'LPIPS' else {}
    found = {name: protocol.get(name) for name in wanted}
    return ', '.join(f'{name} {found[name]} and not {wanted[name]}' for name in wanted if found[name] != wanted[name])


def key_of(text: str) -> str:
    """Normalises a name for comparison: without case, punctuation and BasicSR's `calculate_`."""
    key = re.sub(r'^calculate_|_pytorch$', '', text.lower())
    key = re.sub(r'[^a-z0-9+*]', '', key)  # + and * distinguish +GAN, LDL* and AESOP*
    return SAME.get(key, key)
