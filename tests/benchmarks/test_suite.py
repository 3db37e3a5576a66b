"""All benchmarks in one command: what is begun, kept and told, and parts for real."""

import argparse
import importlib
import json

import pytest

from aesop.benchmarks import BENCHMARKS, degradation, measure, suite
from aesop.utils.recipes import recipe
from tests.commands import command

benchmark = command('benchmark')


@pytest.fixture
def ran(monkeypatch):
    """Parts that write two files, but for one that fails; the names of those that were run."""
    names = []

    def one(part, output, device, seconds):
        names.append(part.name)
        if part.name == 'degradation':
            return 'failed (1): ValueError: too bad'
        measure.write(output, part.name, 'command', measure.environment(device), 'X', 'About.', [])
        return 'done'

    monkeypatch.setattr(suite, 'one', one)
    return names


def test_parts_that_are_there_are_not_run_again(ran, tmp_path, monkeypatch):
    arguments = ['all', '-o', tmp_path, '--small', '--device', 'cpu']
    assert benchmark(arguments) == 0
    count = len(ran)
    assert count == len(suite.small_parts())
    assert '| degradation | failed (1): ValueError: too bad |' in (tmp_path / 'all.md').read_text()
    assert json.loads((tmp_path / 'all.json').read_text())['step_rrdb']['outcome'] == 'done'
    assert benchmark(arguments) == 0
    assert ran[count:] == ['degradation']  # it has no files
    monkeypatch.setattr(measure, '_processor', lambda: 'another')
    assert benchmark(arguments) == 0
    assert len(ran) == 2 * count + 1


def test_none_is_begun_when_time_is_over_and_unknown_ones_are_told(ran, tmp_path, capsys):
    assert benchmark(['all', '-o', tmp_path, '--small', '--device', 'cpu', '--seconds', '-1']) == 0
    assert ran == []
    assert '| step_rrdb | not begun |' in (tmp_path / 'all.md').read_text()
    assert benchmark(['all', '-o', tmp_path, '--small', '--only', 'step_edsr']) == 2
    assert 'unknown part step_edsr' in capsys.readouterr().err


def test_the_parts_for_a_gpu_are_commands_that_there_are():
    parts = [part for part in suite.parts() if part.words is not suite.GPU_TESTS]
    assert len({part.name for part in parts}) == len(parts)
    for part in parts:
        parser = argparse.ArgumentParser()
        module = importlib.import_module(f'aesop.benchmarks.{BENCHMARKS[part.words[0]]}')
        module.arguments(parser)
        chosen = vars(parser.parse_args(part.words[1:]))
        if chosen.get('opt'):
            assert recipe(chosen['opt']).is_file()


def test_small_parts_are_measured(tmp_path, monkeypatch):
    """Really, in processes of their own; the parts that are left out are what other tests run."""
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    parts = ('step_drct', 'inference_hat', 'batch_size', 'loader', 'validation', 'training')
    assert benchmark(['all', '-o', tmp_path, '--small', '--device', 'cpu', '--only', *parts]) == 0
    outcomes = {name: note['outcome'] for name, note in json.loads((tmp_path / 'all.json').read_text()).items()}
    assert outcomes == dict.fromkeys(parts, 'done')
    tables = {name: json.loads((tmp_path / f'{name}.json').read_text())['tables'] for name in parts}
    assert tables['step_drct']['Variants'][2]['difference'] < 1e-4
    assert [row['variant'] for row in tables['inference_hat']['Variants']] == ['plain', 'default', 'tiles']
    assert tables['batch_size']['the options as they are'][0]['samples / s'] > 0
    assert {row['loader'] for row in tables['loader']['Loaders']} == {'pairs', 'cache', 'LR made', 'real world'}
    assert tables['validation']['Parts'][-1]['difference'] < 1e-6
    alone, interrupted = tables['training']['Runs']
    assert alone['iterations'] == interrupted['iterations'] >= 2
    assert interrupted['same bits'] == 'yes'
    assert '# A minute of training' in (tmp_path / 'training.md').read_text()


def test_a_part_that_fails_or_takes_too_long_is_told(tmp_path):
    part = suite.Part('x', ('inference', '-opt', 'nowhere.yml'))
    assert suite.one(part, tmp_path, 'cpu', 60).startswith('failed (1): aesop.errors.UserError: nowhere.yml:')
    assert suite.one(suite.Part('x', ('training',)), tmp_path, 'cpu', 0.01) == 'not done in 0 s'
    assert not list(tmp_path.iterdir())


def test_the_report_of_degradation(tmp_path, monkeypatch):
    monkeypatch.setattr(degradation.torch, 'set_num_threads', lambda _: None)
    sizes = ['--batches', '1', '--batch', '2', '--crop', '64', '--gt_size', '32', '--rounds', '1']
    assert benchmark(['degradation', '-o', tmp_path, *sizes, '--device', 'cpu']) == 0
    plain, ours = json.loads((tmp_path / 'degradation.json').read_text())['tables']['Variants']
    assert plain['speed / plain'] == 1
    assert ours['difference'] < 0.5  # of 255
