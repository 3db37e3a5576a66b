import json
import sys

import pytest

from aesop.benchmarks import startup
from aesop.errors import UserError
from tests.commands import command

benchmark = command('benchmark')


def test_a_process_is_timed_up_to_a_line_and_ended(tmp_path):
    code = 'import time; print("iter 1/9", flush=True); time.sleep(60); open("late", "w")'
    startup.until_line('iter 1/', [sys.executable, '-c', code], str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_process_that_fails_is_told(tmp_path):
    code = 'raise SystemExit("no images")'
    with pytest.raises(UserError, match='ended before its first iteration: no images'):
        startup.until_line('iter 1/', [sys.executable, '-c', code], str(tmp_path))
    with pytest.raises(UserError, match='failed: no images'):
        startup.until_end([sys.executable, '-c', code], str(tmp_path))


def test_the_report(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(startup, 'until_end', lambda *_: None)
    monkeypatch.setattr(startup, 'until_line', lambda *_: None)
    assert benchmark(['start-up', '-o', str(tmp_path), '--rounds', '2']) == 0
    rows = json.loads((tmp_path / 'start-up.json').read_text())['tables']['Seconds']
    assert {row['what']: row.get('wanted, s') for row in rows} == {'help': 0.5, 'first iteration': 5.0, 'PyTorch': None}
    assert '# Start-up' in (tmp_path / 'start-up.md').read_text()
