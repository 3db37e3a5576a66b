"""Builds the report: a self-contained HTML page that compares results."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from torch import nn

from aesop.errors import UserError
from aesop.evaluation.published import find, other_protocol
from aesop.reporting.labels import better_of, digits_of, label_of
from aesop.reporting.pd_curve import Point
from aesop.reporting.report.pictures import OWN, Format, album
from aesop.reporting.report.results import Results

PARTS = {'style': ('page.css',), 'script': ('tables.js', 'plot.js', 'viewer.js')}


def build_page(
    results: Sequence[Results],
    title: str = 'Comparison',
    published: Mapping[str, str] | None = None,
    beside: Sequence[str] = (),
    curves: Sequence[Point] = (),
    axes: tuple[str, str] = ('psnr', 'lpips'),
    ae: nn.Module | None = None,
    how: Format | None = None,
) -> str:
    """Returns the page as HTML.

    Args:
        results: of each method, with distinct names.
        published: by method, the published column to compare with, e.g. `RRDB AESOP 128`; overrides the results.
        beside: published columns to show as additional rows of the tables.
        curves: perception-distortion curves, from `aesop plot pd-curve`.
        axes: the metrics that the plot shows initially.
        ae: the pretrained auto-encoder, for maps of L_AESOP.

    Raises:
        UserError: a published column is unknown; an image cannot be used.
    """
    if taken := [result.name for result in results if result.name in OWN]:
        raise UserError(f'a result is called {taken[0]}, which is reserved; give it another `name`')
    columns = {result.name: result.published for result in results} | dict(published or {})
    for name in (*beside, *filter(None, columns.values())):
        find(name)
    tables, notes = _tables(results, columns, beside)
    images, about = album(results, how or Format(), ae)
    of_image = {
        (dataset, image, result.name): values
        for result in results
        for dataset, entries in result.images.items()
        for image, values in entries.items()
    }
    for entry in images:
        entry['values'] = {
            result.name: _plain(of_image.get((entry['dataset'], entry['name'], result.name), {})) for result in results
        }
    metrics = list(dict.fromkeys(metric for table in tables for metric in table['metrics']))
    metrics += [m for m in dict.fromkeys(m for point in curves for m in point.values) if m not in metrics]
    data = {
        'methods': [result.name for result in results],
        'metrics': {
            name: {'label': label_of(name), 'digits': digits_of(name), 'better': _direction(results, name)}
            for name in metrics
        },
        'tables': tables,
        'notes': notes + about,
        'protocols': {result.name: result.protocols for result in results},
        'curves': [vars(point) | {'values': _plain(point.values)} for point in curves],
        'axes': list(axes),
        'images': images,
    }
    return _fill(title, data)


def _fill(title: str, data: dict[str, Any]) -> str:
    folder = files('aesop.reporting.report')
    page = (folder / 'page.html').read_text(encoding='utf-8')
    for mark, names in PARTS.items():
        page = page.replace(f'<!-- {mark} -->', '\n'.join((folder / n).read_text(encoding='utf-8') for n in names))
    text = json.dumps(data, allow_nan=False, separators=(',', ':')).replace('<', '\\u003c')  # names cannot contain tags
    return page.replace('<!-- title -->', escape(title)).replace('<!-- data -->', text)


def _tables(
    results: Sequence[Results], columns: Mapping[str, str | None], beside: Sequence[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """A table for each dataset, and the notes on all tables."""
    tables: list[dict[str, Any]] = []
    notes: dict[str, list[str]] = {}  # text -> the datasets and methods it applies to
    for dataset in dict.fromkeys(name for result in results for name in result.means):
        methods = [result for result in results if dataset in result.means]
        metrics = [metric for r in methods for metric in (*r.means[dataset], *r.missing.get(dataset, {}))]
        metrics = list(dict.fromkeys(metrics))
        rows = [_row(result, dataset, metrics, columns[result.name]) for result in methods]
        for metric in metrics:
            if doubt := _doubt(dataset, methods, metric):
                notes.setdefault(f'{doubt}; none is marked as the best.', []).append(dataset)
            else:
                _mark_best(rows, metric, _direction(methods, metric))
        for result in methods:
            for remark in _remarks(result, dataset, columns):
                notes.setdefault(remark, []).append(f'{dataset}, {result.name}')
        for name in beside:
            cells = {metric: {'published': _printed(name, dataset, metric)} for metric in metrics}
            if any(cell['published'] for cell in cells.values()):
                rows.append({'method': name, 'images': None, 'published': name, 'printed': True, 'cells': cells})
        tables.append({'dataset': dataset, 'metrics': metrics, 'rows': rows})
    return tables, [f'{"; ".join(places)}: {text}' for text, places in notes.items()]


def _row(result: Results, dataset: str, metrics: Sequence[str], column: str | None) -> dict[str, Any]:
    cells = {metric: _cell(result, dataset, metric, column) for metric in metrics}
    images = len(result.images.get(dataset, {}))
    return {'method': result.name, 'images': images, 'published': column, 'cells': cells}


def _cell(result: Results, dataset: str, metric: str, column: str | None) -> dict[str, Any]:
    value = result.means[dataset].get(metric)
    if value is None:
        return {'missing': result.missing.get(dataset, {}).get(metric, 'not measured')}
    cell: dict[str, Any] = _plain({'value': value})
    kind = result.protocol(dataset, metric).get('metric', metric)  # the type, not the name in the options
    printed = _printed(column, dataset, kind) if column else None
    if printed and math.isfinite(value):
        cell |= {'published': printed, 'difference': value - printed['value']}
    return cell


def _printed(column: str, dataset: str, metric: str) -> dict[str, Any] | None:
    """The published value with its sources; if they disagree, all values are listed."""
    rows = find(column, dataset=dataset, metric=metric)
    if not rows:
        return None
    by_value: dict[str, list[str]] = {}
    for row in rows:
        by_value.setdefault(f'{row.value:.{row.digits}f}', []).append(row.table)
    places = '; '.join(f'{value} ({", ".join(tables)})' for value, tables in by_value.items())
    return {'value': rows[0].value, 'digits': rows[0].digits, 'source': places, 'disputed': rows[0].disputed}


def _remarks(result: Results, dataset: str, columns: Mapping[str, str | None]) -> Iterator[str]:
    """Notes on the results of a method."""
    for metric, why in result.missing.get(dataset, {}).items():
        yield f'{label_of(metric)} is missing: {why}'
    for image, why in result.left_out.get(dataset, {}).items():
        yield f'{image} is left out: {why}'
    column = columns[result.name]
    for metric in result.means[dataset] if column else ():
        protocol = result.protocol(dataset, metric)
        rows = find(column, dataset=dataset, metric=protocol.get('metric', metric))
        if rows and (other := other_protocol(protocol, rows[0])):
            yield f'the protocol of {label_of(metric)} differs from the published one: {other}'


def _mark_best(rows: list[dict[str, Any]], metric: str, better: str | None) -> None:
    """Marks the best cells of a column, after rounding to the displayed digits, if it has several values."""
    digits = digits_of(metric)
    cells = [row['cells'][metric] for row in rows if 'value' in row['cells'][metric]]
    values = [math.inf if cell['value'] == 'inf' else round(cell['value'], digits) for cell in cells]
    if better and len(values) > 1:
        best = max(values) if better == 'higher' else min(values)
        for cell, value in zip(cells, values):
            cell['best'] = value == best


def _doubt(dataset: str, methods: Sequence[Results], metric: str) -> str:
    """Why the values of a metric cannot be compared; '' if they can."""
    measured = [result for result in methods if metric in result.means[dataset]]
    if len({frozenset(result.images.get(dataset, {})) for result in measured}) > 1:
        counts = ', '.join(f'{result.name} {len(result.images.get(dataset, {}))}' for result in measured)
        return f'{label_of(metric)} was measured on different images ({counts})'
    protocols = [protocol for result in measured if (protocol := result.protocol(dataset, metric))]
    keys = dict.fromkeys(key for protocol in protocols for key in protocol)
    differing = [key for key in keys if len({json.dumps(protocol.get(key)) for protocol in protocols}) > 1]
    return f'{label_of(metric)} was measured in different ways ({", ".join(differing)})' if differing else ''


def _direction(results: Sequence[Results], metric: str) -> str | None:
    """'higher' or 'lower', from the results or else from the metric's name."""
    directions = (result.protocol(dataset, metric).get('better') for result in results for dataset in result.means)
    return next(filter(None, directions), better_of(metric))


def _plain(values: Mapping[str, float]) -> dict[str, Any]:
    """Replaces infinity, which JSON does not support."""
    return {name: 'inf' if value == math.inf else value for name, value in values.items()}
