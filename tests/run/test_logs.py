import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml

from aesop.cli.runs import main


@pytest.fixture
def run(folder, options):
    """Trains the six iterations; the log is written every second, validation happens every third."""
    options['logger']['wandb'] = {'project': 'sr', 'resume_id': 'abc'}

    def run_():
        (folder / 'run.yml').write_text(yaml.safe_dump(options))
        return main('train', ['-opt', 'run.yml'])

    return run_


def test_scalars_go_to_weights_and_biases(run, monkeypatch):
    calls, logged = [], []
    session = SimpleNamespace(
        log=lambda values, step: logged.append((step, values)), finish=lambda: calls.append('finish')
    )
    wandb = SimpleNamespace(init=lambda **arguments: calls.append(arguments) or session)
    monkeypatch.setitem(sys.modules, 'wandb', wandb)
    assert run() == 0

    about, end = calls
    assert end == 'finish'
    assert (about['project'], about['id'], about['resume'], about['name']) == ('sr', 'abc', 'allow', 'tiny')
    assert about['config']['train']['total_iter'] == 6
    by_name = {}
    for step, values in logged:
        for name in values:
            by_name.setdefault(name, []).append(step)
    assert by_name == {
        'losses/l_pix': [2, 4, 6],
        'lr/optim_g': [2, 4, 6],
        'metrics/textures/psnr': [3, 6],
    }


def test_without_the_package_one_line_says_so(run, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, 'wandb', None)
    assert run() == 0
    assert [r.message for r in caplog.records if 'wandb' in r.message] == [
        'logger.wandb has no effect: the package wandb is not installed'
    ]


def test_no_project_means_no_logging_there(run, options, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, 'wandb', None)
    options['logger']['wandb']['project'] = None
    assert run() == 0
    assert not [r for r in caplog.records if 'wandb' in r.message]


def test_a_locale_without_utf_8_is_no_reason_for_errors(folder, options):
    options['datasets']['val']['name'] = 'Zürich'
    (folder / 'run.yml').write_text(yaml.safe_dump(options))
    locale = {'LC_ALL': 'POSIX', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'}
    command = [sys.executable, '-c', 'from aesop.cli.runs import main; main("train", ["-opt", "run.yml"])']
    done = subprocess.run(command, env=os.environ | locale, capture_output=True, text=True)
    assert done.returncode == 0 and 'rror' not in done.stderr, done.stderr
    assert r'Z\xfcrich' in done.stdout
    assert 'Zürich' in next(folder.glob('experiments/tiny/*.log')).read_text('utf-8')
    assert 'Z\\u00fcrich' in (folder / 'experiments/tiny/metrics.jsonl').read_text('utf-8')
