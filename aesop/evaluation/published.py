"""The numbers that papers print, each with its place: `published_results.json`."""

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
# Our names -> the paper's, without what `key_of` drops.
SAME = {'stabilisedpsnr': 'psnr', 'patchfid': 'pfid', 'clipiqaresnet': 'clipiqa'}


@dataclass(frozen=True)
class Published:
    """A printed number.

    Attributes:
        backbone, patch: None where the table names none and the text implies none.
        digits: decimals that are printed; the number is known to half a unit of the last.
        source, table, row, column: where it is printed. `note`: what else has to be known of that table.
        disputed: another table prints another value for the same.
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
        """What a table's column is called here, e.g. `RRDB AESOP 128`; the scale is said where it is not 4."""
        scale = None if self.scale == 4 else f'x{self.scale}'
        return ' '.join(str(part) for part in (self.backbone, self.method, self.patch, scale) if part is not None)


@cache
def published() -> tuple[Published, ...]:
    """All of them, in the order of the tables.

    Raises:
        UserError: the file of the project's checkout is not there.
    """
    if not FILE.is_file():
        raise UserError(f'{FILE}: file not found, and it holds the published numbers; get it from the project')
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
    """The published numbers that fit everything given; several where several tables print one.

    Args:
        name: as `Published.name`, e.g. `RRDB AESOP 128`; case and spaces do not matter.
        dataset, metric: case and punctuation do not matter: `lr_psnr`, `LRPSNR` and `LR-PSNR` are one.

    Raises:
        UserError: nothing has that name.
    """
    known = {key_of(other): other for other in names()}
    if name is not None and key_of(name) not in known:
        listed = ', '.join(known.values())
        raise UserError(
            f'"{name}" is no published column; there are {listed}.{did_you_mean(name, list(known.values()))}'
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
    """What `find` takes as `name`, in the order of the tables."""
    return list(dict.fromkeys(row.name for row in published()))


def other_protocol(protocol: dict[str, Any], row: Published | None = None) -> str:
    """How a metric was measured otherwise than the published number, '' where nothing is known.

    Args:
        protocol: of a metric, as `metrics.json` has it.
        row: the published number; None is one of the AESOP paper (its Appendix A, all at x4).
    """
    kind = protocol.get('metric')
    if row and row.source == 'refvae' and kind == 'LRPSNR':
        return 'of images reduced by antialiased bicubic, and not by sampled bicubic'
    if row and row.source == 'ntire':
        return ''
    border = row.scale if row else 4
    if kind == 'AEPSNR':
        return 'by its own auto-encoder, and not that of the paper'
    if kind in ('PSNR', 'StabilisedPSNR', 'SSIM'):
        wanted = {'colour': 'Y (BT.601)', 'crop_border': border}
    else:
        wanted = {'backbone': 'alexnet', 'crop_border': 0} if kind == 'LPIPS' else {}
    found = {name: protocol.get(name) for name in wanted}
    return ', '.join(f'{name} {found[name]} and not {wanted[name]}' for name in wanted if found[name] != wanted[name])


def key_of(text: str) -> str:
    """`text` without what does not matter when names are compared: case, punctuation, BasicSR's `calculate_`."""
    key = re.sub(r'^calculate_|_pytorch$', '', text.lower())
    key = re.sub(r'[^a-z0-9+*]', '', key)  # +GAN, LDL* and AESOP* differ from what stands without the mark
    return SAME.get(key, key)
