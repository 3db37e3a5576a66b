import csv
from pathlib import Path

import pytest

from tests.commands import command

main = command('plot', 'trajectories')

pytestmark = pytest.mark.usefixtures('coarse')


def make_run(name):
    folder = Path(name)
    folder.mkdir(parents=True)
    lines = [f'{{"iter": {100 * n}, "losses": {{"l_g_pix": {0.001 * n}}}}}\n' for n in (1, 2, 3)]
    (folder / 'train.jsonl').write_text(''.join(lines))
    (folder / 'options.yml').write_text('scale: 4\ntrain: {pixel_opt: {type: L1Loss, loss_weight: 0.01}}\n')


def test_the_curves_of_two_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ('a', 'b'):
        make_run(f'experiments/{name}')
    assert main(['experiments/a', 'experiments/b', '--smooth', '2', '-o', 'out/curves']) == 0
    assert capsys.readouterr().out.split() == ['out/curves.png', 'out/curves.pdf', 'out/curves.csv']
    with open('out/curves.csv') as file:
        rows = list(csv.DictReader(file))
    assert [(row['run'], row['loss']) for row in rows[::3]] == [
        (run, loss) for run in 'ab' for loss in ('L_{pix}', '0.01 L_{pix}')
    ]
    assert [float(row['mean']) for row in rows[3:6]] == [0.001, 0.0015, 0.0025]


def test_mistakes_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_run('a')
    make_run('other/a')
    for arguments, words in (
        (['none'], 'none: no training losses (train.jsonl)'),
        (['a', '--smooth', '0'], '--smooth 0: name 1 or more'),
        (['a', 'other/a'], 'two of the runs have the same name'),
    ):
        assert main(arguments) == 2
        assert words in capsys.readouterr().err
