"""The command `aesop`: its help, its exit codes, that it starts at once."""

import subprocess
import sys
from pathlib import Path

import pytest

from aesop import __version__, cli
from aesop.cli import COMMANDS, exit_code, main
from aesop.errors import RunEnded, UserError

ROOT = Path(__file__).parents[2]


def test_the_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as ended:
        main(['--help'])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert [name for name in COMMANDS if f'    {name}' not in said] == []


@pytest.mark.parametrize('name', [*COMMANDS, 'plot pd-curve', 'plot loss-maps'])
def test_every_command_has_help(capsys, name):
    with pytest.raises(SystemExit) as ended:
        main([*name.split(), '--help'])
    assert ended.value.code == 0 and f'usage: aesop {name}' in capsys.readouterr().out


def test_help_and_version_load_no_framework():
    command = (
        'import sys; from aesop.cli import main\n'
        'try: main(["train", "--help"])\n'
        'except SystemExit: pass\n'
        'print(sorted({name.split(".")[0] for name in sys.modules} & {"torch", "cv2", "numpy", "yaml", "pydantic"}))'
    )
    done = subprocess.run([sys.executable, '-c', command], capture_output=True, text=True, cwd=ROOT, check=True)
    assert '--auto_resume' in done.stdout and done.stdout.splitlines()[-1] == '[]'
    done = subprocess.run(
        [sys.executable, '-m', 'aesop', '--version'], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == f'aesop {__version__}\n'


def test_an_unknown_command_is_an_error_of_the_user(capsys):
    with pytest.raises(SystemExit) as ended:
        main(['trian'])
    assert ended.value.code == 2 and 'trian' in capsys.readouterr().err


def test_a_mistake_of_ours_is_raised():
    for error in (KeyError('x'), RuntimeError('shapes'), OSError('no file named')):
        with pytest.raises(type(error)):
            exit_code('x.py', lambda error=error: (_ for _ in ()).throw(error))


def test_completion_is_asked_for_by_the_environment(monkeypatch):
    class Completer:
        @staticmethod
        def autocomplete(parser):
            raise SystemExit(parser.prog)

    monkeypatch.setenv('_ARGCOMPLETE', '1')
    monkeypatch.setitem(sys.modules, 'argcomplete', Completer)
    with pytest.raises(SystemExit, match='aesop'):
        cli.main([])


@pytest.mark.parametrize(
    ('error', 'code', 'said'),
    [
        (UserError(['this is wrong', 'that too']), 2, 'x.py: this is wrong\nx.py: that too\n'),
        (RunEnded('it diverged'), 1, 'x.py: it diverged\n'),
        (KeyboardInterrupt(), 3, 'x.py: interrupted; run the same command again to resume\n'),
        (
            OSError(28, 'No space left on device', 'a.png'),
            2,
            'x.py: a.png: No space left on device; free some space on',
        ),
        (MemoryError(), 1, 'x.py: out of memory (MemoryError). In training, lower the batch'),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes\nmore"),
            1,
            'x.py: out of memory (',
        ),
        (PermissionError(13, 'Permission denied', 'a.png'), 2, 'x.py: a.png: Permission denied\n'),
    ],
)
def test_how_a_command_ends(capsys, error, code, said):
    def work():
        raise error

    assert exit_code('x.py', work) == code
    assert capsys.readouterr().err.startswith(said)
    assert exit_code('x.py', lambda: None) == 0
