"""Result files in `results/<name>`: scores with their protocol and a comparison with published numbers."""

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aesop.evaluation.evaluate import Evaluation
from aesop.evaluation.published import Published, find, other_protocol
from aesop.run.experiment import describe_run
from aesop.utils.files import atomic, write_text
from aesop.utils.jsonl import json_safe


@dataclass
class Report:
    """The contents of the result files.

    Attributes:
        results: by dataset.
        protocols: by dataset and metric.
        made: what else the scores depend on: weights, versions, ...
        published: the column of the paper to compare with, e.g. `RRDB AESOP 128`.
    """

    name: str
    results: dict[str, Evaluation]
    protocols: dict[str, dict[str, dict[str, Any]]]
    made: dict[str, Any]
    published: str | None = None

    def write(self, root: Path) -> None:
        """Writes `metrics.json`, `metrics.csv`, `metrics.md`, and `run.json` with the command and code version.

        `metrics.json` is written last, so if it exists, the others are complete.
        """
        root.mkdir(parents=True, exist_ok=True)
        run = describe_run()
        about = {'git': {'commit': run['git']['commit'], 'changed': bool(run['git']['uncommitted'])}}
        about |= {key: run[key] for key in ('python', 'packages')}
        content = {
            'name': self.name,
            'datasets': {key: result.mean for key, result in self.results.items()},
            'missing': {key: result.missing for key, result in self.results.items() if result.missing},
            'left_out': {key: result.left_out for key, result in self.results.items() if result.left_out},
            'published': self.published,
            'comparison': self.comparison(),
            'images': {key: result.images for key, result in self.results.items()},
            'protocol': {**self.made, 'metrics': self.protocols, **about},
        }
        write_text(root / 'run.json', _json(run))
        write_text(root / 'metrics.md', self.markdown())
        with atomic(root / 'metrics.csv') as aside, open(aside, 'w', newline='', encoding='utf-8') as file:
            csv.writer(file).writerows(self._rows())
        write_text(root / 'metrics.json', _json(content))

    def comparison(self) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """By dataset and metric: the published values, their sources, and the difference of the scores from them."""
        found: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for dataset, result in self.results.items():
            for name, value in result.mean.items():
                for row in self._published(dataset, name):
                    entry = {'published': row.value, 'difference': value - row.value, 'table': row.table}
                    entry |= {'source': row.source, 'row': row.row, 'column': row.column, 'note': row.note}
                    entry['otherwise'] = self._otherwise(dataset, name)
                    found.setdefault(dataset, {}).setdefault(name, []).append(entry)
        return found

    def markdown(self) -> str:
        """A table with a row for each dataset, the published scores, and notes on differences and missing values."""
        names = self._names()
        lines = [_line('data set', 'images', *names), '|---|---|' + '---|' * len(names)]
        for dataset, result in self.results.items():
            values = [_digits(result.mean[name]) if name in result.mean else '-' for name in names]
            lines.append(_line(dataset, self._count(dataset), *values))
            rows = [self._published(dataset, name) for name in names]
            if any(rows):
                lines.append(_line(f'published: {self.published}', '', *(_printed(of_one) for of_one in rows)))
                lines.append(_line('difference', '', *(self._difference(dataset, name) for name in names)))
        return '\n'.join([*lines, *self._remarks()]) + '\n'

    def _count(self, dataset: str) -> str:
        count, left_out = len(self.results[dataset].images), len(self.results[dataset].left_out)
        return f'{count} of {count + left_out}' if left_out else f'{count}'

    def _otherwise(self, dataset: str, metric: str) -> str:
        """How the protocol differs from that of the published number; '' if no difference is known."""
        other = other_protocol(
            self.protocols[dataset].get(metric, {}), next(iter(self._published(dataset, metric)), None)
        )
        fewer = f'{self._count(dataset)} images' if self.results[dataset].left_out else ''
        return ', '.join(filter(None, (other, fewer)))

    def _difference(self, dataset: str, name: str) -> str:
        """The difference from the published number; * marks a different protocol."""
        value = self.results[dataset].mean.get(name)
        if value is None:
            return ''
        mark = '*' if self._otherwise(dataset, name) else ''
        return ' / '.join(f'{value - row.value:+.{row.digits}f}{mark}' for row in self._published(dataset, name))

    def _remarks(self) -> Iterator[str]:
        """Notes below the table, as lines of a list; equal notes on several datasets are merged."""
        remarks: dict[str, list[str]] = {}
        for dataset, remark in self._remarks_by_dataset():
            remarks.setdefault(' '.join(remark.split()), []).append(dataset)
        if remarks:
            yield ''
        for remark, datasets in remarks.items():
            yield f'- {", ".join(datasets)}: {remark}'

    def _remarks_by_dataset(self) -> Iterator[tuple[str, str]]:
        for dataset, of_set in self.comparison().items():
            for name, entries in of_set.items():
                if other := entries[0]['otherwise']:
                    yield dataset, f'* the protocol of {name} differs from the published one: {other}'
        for dataset, result in self.results.items():
            for name, reason in result.missing.items():
                yield dataset, f'{name} is missing: {reason}'
            for image, reason in result.left_out.items():
                yield dataset, f'{image} is left out: {reason}'

    def _rows(self) -> Iterator[list[Any]]:
        names = self._names()
        yield ['dataset', 'image', *names]
        for dataset, result in self.results.items():
            for image, values in [*result.images.items(), ('mean', result.mean)]:
                yield [dataset, image, *(values.get(name, '') for name in names)]

    def _names(self) -> list[str]:
        """The metrics of all datasets, in the order of the options."""
        return list(dict.fromkeys(name for of_set in self.protocols.values() for name in of_set))

    def _published(self, dataset: str, metric: str) -> list[Published]:
        """The published numbers for a metric; several if tables disagree."""
        kind = self.protocols[dataset].get(metric, {}).get('metric')
        if self.published is None or kind is None:
            return []
        rows = find(self.published, dataset=dataset, metric=kind)
        return list({row.value: row for row in reversed(rows)}.values())[::-1]


def evaluation_of(root: Path) -> str | None:
    """The fingerprint of the evaluation with results in `root`, or None if there are none."""
    try:
        return json.loads((root / 'metrics.json').read_text(encoding='utf-8'))['protocol'].get('evaluation')
    except (OSError, ValueError, KeyError):
        return None


def _json(data: Any) -> str:
    return json.dumps(json_safe(data), indent=2, allow_nan=False) + '\n'


def _line(*cells: str) -> str:
    return f'| {" | ".join(cells)} |'


def _digits(value: float) -> str:
    return f'{value:.4f}' if math.isfinite(value) else str(value)


def _printed(rows: list[Published]) -> str:
    return ' / '.join(f'{row.value:.{row.digits}f}' for row in rows)
