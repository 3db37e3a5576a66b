"""A page that compares results: one HTML file with all that it shows inside, read without a network."""

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
    """The page as HTML.

    Args:
        results: of each method, by names that differ.
        published: by method, the published column to compare it with, e.g. `RRDB AESOP 128`; over what the results say.
        beside: published columns that get a row of their own in the tables.
        curves: of perception and distortion, from `plot_pd_curve.py`.
        axes: the metrics that the plot shows first.
        ae: the pretrained auto-encoder, for maps of L_AESOP.

    Raises:
        UserError: a published column is unknown; an image cannot be used.
    """
    if taken := [result.name for result in results if result.name in OWN]:
        raise UserError(f'a result is called {taken[0]}, which the page calls something else; give it another `name`')
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
    text = json.dumps(data, allow_nan=False, separators=(',', ':')).replace(
        '<', '\\u003c'
    )  # no tag, whatever names hold
    return page.replace('<!-- title -->', escape(title)).replace('<!-- data -->', text)


def _tables(
    results: Sequence[Results], columns: Mapping[str, str | None], beside: Sequence[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """A table for each data set, and what is to be said of them all."""
    tables: list[dict[str, Any]] = []
    said: dict[str, list[str]] = {}  # what holds for several methods and sets is said once
    for dataset in dict.fromkeys(name for result in results for name in result.means):
        methods = [result for result in results if dataset in result.means]
        metrics = [metric for r in methods for metric in (*r.means[dataset], *r.missing.get(dataset, {}))]
        metrics = list(dict.fromkeys(metrics))
        rows = [_row(result, dataset, metrics, columns[result.name]) for result in methods]
        for metric in metrics:
            if doubt := _doubt(dataset, methods, metric):
                said.setdefault(f'{doubt}; none is marked as the best.', []).append(dataset)
            else:
                _mark_best(rows, metric, _direction(methods, metric))
        for result in methods:
            for remark in _remarks(result, dataset, columns):
                said.setdefault(remark, []).append(f'{dataset}, {result.name}')
        for name in beside:
            cells = {metric: {'published': _printed(name, dataset, metric)} for metric in metrics}
            if any(cell['published'] for cell in cells.values()):
                rows.append({'method': name, 'images': None, 'published': name, 'printed': True, 'cells': cells})
        tables.append({'dataset': dataset, 'metrics': metrics, 'rows': rows})
    return tables, [f'{"; ".join(places)}: {text}' for text, places in said.items()]


def _row(result: Results, dataset: str, metrics: Sequence[str], column: str | None) -> dict[str, Any]:
    cells = {metric: _cell(result, dataset, metric, column) for metric in metrics}
    images = len(result.images.get(dataset, {}))
    return {'method': result.name, 'images': images, 'published': column, 'cells': cells}


def _cell(result: Results, dataset: str, metric: str, column: str | None) -> dict[str, Any]:
    value = result.means[dataset].get(metric)
    if value is None:
        return {'missing': result.missing.get(dataset, {}).get(metric, 'not measured')}
    cell: dict[str, Any] = _plain({'value': value})
    kind = result.protocol(dataset, metric).get('metric', metric)  # whatever the user has called it
    printed = _printed(column, dataset, kind) if column else None
    if printed and math.isfinite(value):
        cell |= {'published': printed, 'difference': value - printed['value']}
    return cell


def _printed(column: str, dataset: str, metric: str) -> dict[str, Any] | None:
    """The published value, with the places that print it; where they disagree, all of them."""
    rows = find(column, dataset=dataset, metric=metric)
    if not rows:
        return None
    by_value: dict[str, list[str]] = {}
    for row in rows:
        by_value.setdefault(f'{row.value:.{row.digits}f}', []).append(row.table)
    places = '; '.join(f'{value} ({", ".join(tables)})' for value, tables in by_value.items())
    return {'value': rows[0].value, 'digits': rows[0].digits, 'source': places, 'disputed': rows[0].disputed}


def _remarks(result: Results, dataset: str, columns: Mapping[str, str | None]) -> Iterator[str]:
    """What has to be known of a method's numbers."""
    for metric, why in result.missing.get(dataset, {}).items():
        yield f'{label_of(metric)} is missing: {why}'
    for image, why in result.left_out.get(dataset, {}).items():
        yield f'{image} is left out: {why}'
    column = columns[result.name]
    for metric in result.means[dataset] if column else ():
        protocol = result.protocol(dataset, metric)
        rows = find(column, dataset=dataset, metric=protocol.get('metric', metric))
        if rows and (other := other_protocol(protocol, rows[0])):
            yield f'{label_of(metric)} was measured otherwise than the published one: {other}'


def _mark_best(rows: list[dict[str, Any]], metric: str, better: str | None) -> None:
    """Marks the best cells of a column, equal to the printed digits, where there is something to be better than."""
    digits = digits_of(metric)
    cells = [row['cells'][metric] for row in rows if 'value' in row['cells'][metric]]
    values = [math.inf if cell['value'] == 'inf' else round(cell['value'], digits) for cell in cells]
    if better and len(values) > 1:
        best = max(values) if better == 'higher' else min(values)
        for cell, value in zip(cells, values):
            cell['best'] = value == best


def _doubt(dataset: str, methods: Sequence[Results], metric: str) -> str:
    """What keeps a metric's values from being compared, '' where nothing does."""
    measured = [result for result in methods if metric in result.means[dataset]]
    if len({frozenset(result.images.get(dataset, {})) for result in measured}) > 1:
        counts = ', '.join(f'{result.name} {len(result.images.get(dataset, {}))}' for result in measured)
        return f'{label_of(metric)} was measured on different images ({counts})'
    protocols = [protocol for result in measured if (protocol := result.protocol(dataset, metric))]
    keys = dict.fromkeys(key for protocol in protocols for key in protocol)
    differing = [key for key in keys if len({json.dumps(protocol.get(key)) for protocol in protocols}) > 1]
    return f'{label_of(metric)} was measured in different ways ({", ".join(differing)})' if differing else ''


def _direction(results: Sequence[Results], metric: str) -> str | None:
    """'higher' or 'lower' as the results say, or by the metric's name."""
    said = (result.protocol(dataset, metric).get('better') for result in results for dataset in result.means)
    return next(filter(None, said), better_of(metric))


def _plain(values: Mapping[str, float]) -> dict[str, Any]:
    """Values as JSON can hold them."""
    return {name: 'inf' if value == math.inf else value for name, value in values.items()}
