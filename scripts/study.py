"""Runs a study: trains what is missing, resumes interrupted trainings, evaluates, and writes its tables.

python scripts/study.py scripts/small_study.yml -o results/study.md

scripts/small_study.yml explains the keys. Tables give the mean, standard deviation and number over seeds, and paired
differences of two methods by seed. Errors give exit code 2.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from aesop.errors import UserError
from aesop.options import load_options

STEPS = ('train', 'evaluate', 'tables')
COLUMNS = {'psnr': ('PSNR', 2), 'ssim': ('SSIM', 4), 'lpips': ('LPIPS', 4), 'dists': ('DISTS', 4)}
COLUMNS |= {'lr_psnr': ('LR-PSNR', 2), 'ae_psnr': ('AE-PSNR', 2)}  # metric of the option file -> its title and digits


class Study:
    def __init__(self, path: Path) -> None:
        try:
            plan = yaml.safe_load(path.read_text(encoding='utf-8'))
            self.test, self.runs, self.tables = plan['test'], plan['runs'], plan['tables']
        except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
            raise UserError(f'{path}: this is no file of a study ({error}); see scripts/small_study.yml') from error

    def trainings(self) -> Iterator[tuple[str, list[str], Path]]:
        """The name of each training, its arguments, and the weights that it ends with."""
        for run, about in self.runs.items():
            for seed in about.get('seeds', [None]):
                name = named(run, seed)
                overrides = [f'name={name}', *([] if seed is None else [f'manual_seed={seed}']), *about.get('set', [])]
                yield name, ['-opt', about['opt'], '--set', *overrides], self.weights(run, seed)

    def weights(self, name: str, seed: int | None, at: int | None = None) -> Path:
        """The weights of a run at its end, or at an iteration."""
        if (run := self.runs.get(name)) is None:
            raise UserError(f'a table names the run "{name}", and `runs` has none of this name')
        at = at or load_options(run['opt'], run.get('set', [])).train.total_iter
        return Path('experiments') / named(name, seed) / 'models' / f'net_g_{at}.pth'

    def evaluations(self, row: dict[str, Any]) -> Iterator[tuple[int | None, str, list[str], Path | None]]:
        """Seed, name of the results, arguments of the test, and weights of each run of a table's row."""
        if 'opt' in row:
            yield None, load_options(row['opt']).name, ['-opt', row['opt']], None
            return
        run, at = row['run'], row.get('at')
        for seed in row.get('seeds', self.runs.get(run, {}).get('seeds', [None])):
            weights, name = self.weights(run, seed, at), named(run, seed) + (f'_{at}' if at else '')
            yield seed, name, ['-opt', self.test, '--weights', f'{name}={weights}'], weights


def named(run: str, seed: int | None) -> str:
    return run if seed is None else f'{run}_s{seed}'


def train(study: Study, only: Sequence[str] | None) -> None:
    trainings = {name: about for name, *about in study.trainings()}
    if unknown := [name for name in only or () if name not in trainings]:
        raise UserError(f'--only {" ".join(unknown)}: the trainings are {", ".join(trainings)}')
    for arguments, weights in (trainings[name] for name in only or trainings):
        if not weights.is_file():
            call('train.py', *arguments, '--auto_resume')


def evaluate(study: Study) -> None:
    for row in (row for table in study.tables for row in table['rows'].values()):
        for _, name, arguments, weights in study.evaluations(row):
            if (not weights or weights.is_file()) and not (Path('results') / name / 'metrics.json').is_file():
                call('test.py', *arguments, '--resume')


def call(script: str, *arguments: str) -> None:
    print(f'$ python {script} {" ".join(arguments)}', flush=True)
    subprocess.run([sys.executable, script, *arguments], check=True)


def tables(study: Study) -> Iterator[str]:
    """The tables as Markdown: one for each data set, and one of the paired differences."""
    for table in study.tables:
        results: dict[str, Any] = {}  # title of a row -> data set -> seed -> metric -> value
        for title, row in table['rows'].items():
            for seed, name, _, _ in study.evaluations(row):
                path = Path('results') / name / 'metrics.json'
                for dataset, scores in json.loads(path.read_text())['datasets'].items() if path.is_file() else ():
                    results.setdefault(title, {}).setdefault(dataset, {})[seed] = scores
        sets = list(dict.fromkeys(dataset for row in results.values() for dataset in row))
        found = {metric for row in results.values() for runs in row.values() for run in runs.values() for metric in run}
        measured = [metric for metric in COLUMNS if metric in found]
        head = [COLUMNS[metric][0] for metric in measured]
        yield f'### {table["title"]}\n'
        for dataset in sets:
            rows = [(t, s[dataset]) for t, s in results.items() if dataset in s]
            yield markdown([dataset, 'n', *head], ([t, str(len(v)), *cells(v.values(), measured)] for t, v in rows))
        rows = []
        for one, other in table.get('pairs', ()):
            for dataset in sets:
                a, b = (results.get(title, {}).get(dataset, {}) for title in (one, other))
                both = [{m: a[seed][m] - b[seed][m] for m in measured if m in a[seed]} for seed in a if seed in b]
                if both:
                    rows.append([f'{one} - {other}', dataset, str(len(both)), *cells(both, measured, signed='+')])
        if rows:
            yield markdown(['paired difference', 'set', 'n', *head], rows)


def cells(values: Sequence[dict[str, float]], metrics: Sequence[str], signed: str = '') -> Iterator[str]:
    """Mean ± standard deviation (of a sample) of each metric."""
    for metric in metrics:
        digits, numbers = COLUMNS[metric][1], [v[metric] for v in values if metric in v]
        deviation = f' ± {statistics.stdev(numbers):.{digits}f}' if len(numbers) > 1 else ''
        yield f'{statistics.mean(numbers):{signed}.{digits}f}{deviation}' if numbers else ''


def markdown(head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    return '\n'.join(f'| {" | ".join(row)} |' for row in (head, ['---'] * len(head), *rows)) + '\n'


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('study', type=Path, metavar='FILE', help='the file of a study')
    parser.add_argument('--steps', nargs='+', choices=STEPS, default=STEPS)
    parser.add_argument('--only', nargs='+', metavar='NAME', help='trainings, in this order; default: all')
    parser.add_argument('-o', '--output', type=Path, default=Path('results/study.md'), metavar='OUT.md')
    args = parser.parse_args(arguments)
    try:
        study = Study(args.study)
        if 'train' in args.steps:
            train(study, args.only)
        if 'evaluate' in args.steps:
            evaluate(study)
        if 'tables' in args.steps:
            args.output.write_text('\n'.join(tables(study)), encoding='utf-8')
        return 0
    except (UserError, subprocess.CalledProcessError) as error:
        print(f'study.py: {error}', file=sys.stderr)
        return 2


if __name__ == '__main__':
    sys.exit(main())
