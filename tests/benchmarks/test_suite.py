"""All benchmarks in one command: what is begun, kept and told. The parts themselves are tested elsewhere."""

import json
from types import SimpleNamespace

import pytest

from aesop.benchmarks import degradation, suite
from tests.commands import command

benchmark = command('benchmark')


@pytest.fixture
def ran(monkeypatch):
    """Parts that write two files, but for one that fails; the names of those that were run."""
    names = []

    def run(command, **_):
        names.append(command[4] if command[4] != 'all' else 'hat')
        if command[4] == 'degradation':
            return SimpleNamespace(returncode=1, stdout='', stderr='Traceback\nValueError: too bad\n')
        folder = suite.Path(command[command.index('-o') + 1])
        (folder / 'x.md').write_text('# X\n')
        (folder / 'x.json').write_text('{}')
        return SimpleNamespace(returncode=0, stdout='', stderr='')

    monkeypatch.setattr(suite.subprocess, 'run', run)
    return names


def test_parts_that_are_there_are_not_run_again(ran, tmp_path):
    arguments = ['all', '-o', tmp_path, '--small', '--device', 'cpu']
    assert benchmark(arguments) == 0
    count = len(ran)
    assert count == len(suite.parts(True, 'cpu'))
    assert (tmp_path / 'step_drct_128.json').read_text() == '{}'
    assert '| degradation | failed (1): ValueError: too bad |' in (tmp_path / 'all.md').read_text()
    assert json.loads((tmp_path / 'all.json').read_text())['step_rrdb_128']['outcome'] == 'done'
    assert benchmark(arguments) == 0
    assert ran[count:] == ['degradation']  # it has no files


def test_none_is_begun_when_time_is_over_and_unknown_ones_are_told(ran, tmp_path, capsys):
    assert benchmark(['all', '-o', tmp_path, '--small', '--device', 'cpu', '--seconds', '-1']) == 0
    assert ran == []
    assert '| step_rrdb_128 | not begun |' in (tmp_path / 'all.md').read_text()
    assert benchmark(['all', '-o', tmp_path, '--only', 'step_hat']) == 2
    assert 'unknown part step_hat' in capsys.readouterr().err


def test_the_report_of_degradation(tmp_path, monkeypatch):
    monkeypatch.setattr(degradation.torch, 'set_num_threads', lambda _: None)
    sizes = ['--batches', '1', '--batch', '2', '--crop', '64', '--gt_size', '32', '--rounds', '1']
    assert benchmark(['degradation', '-o', tmp_path, *sizes, '--device', 'cpu']) == 0
    plain, ours = json.loads((tmp_path / 'degradation.json').read_text())['tables']['Variants']
    assert plain['speed / plain'] == 1
    assert ours['difference'] < 0.5  # of 255
