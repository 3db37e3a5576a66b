"""The command line, `aesop COMMAND`: one thin module per command, which imports the implementation when it runs.

A command module has a docstring, whose first line `aesop --help` shows, `add_arguments(parser)` and `run(args)`, which
returns an exit code or None.
"""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from aesop import __version__
from aesop.errors import DONE, FAILED, STOPPED, USER_ERROR, RunEnded, UserError

COMMANDS = (
    'train', 'test', 'upscale', 'prepare', 'lmdb', 'subimages', 'download', 'check', 'options', 'evaluate', 'report',
    'plot', 'export', 'publish', 'convert', 'benchmark',
)  # fmt: skip
FULL = tuple(getattr(errno, name) for name in ('ENOSPC', 'EDQUOT') if hasattr(errno, name))
NO_MEMORY = ("can't allocate memory", 'out of memory')  # in PyTorch's messages on CPUs and GPUs
SMALLER = (
    'In training, lower the batch or patch size (see docs/speed.md); otherwise use tiles or fewer workers. '
    '--auto_resume continues from the last state'
)
AGAIN = 'run the same command again to resume'


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command given by the arguments (default: those of the process); returns the exit code.

    0: done; 1: the run cannot continue; 2: invalid user input; 3: stopped by a signal, the same command resumes. Codes
    1 to 3 come with a message on stderr; other errors raise.
    """
    parser = build_parser()
    if '_ARGCOMPLETE' in os.environ:
        import argcomplete  # pyright: ignore[reportMissingImports]  (an extra)

        argcomplete.autocomplete(parser)
    args = parser.parse_args(arguments)
    if '' not in sys.path and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # for `plugins:` beside the option file, as with `python -m`
    return exit_code(f'aesop {args.command}', lambda: args.run(args))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='aesop', description='Perceptual image super-resolution: train, test, use.')
    parser.add_argument('--version', action='version', version=f'aesop {__version__}')
    add_commands(parser, {name: f'aesop.cli.{name}' for name in COMMANDS}, 'command')
    return parser


def add_commands(parser: argparse.ArgumentParser, modules: dict[str, str], dest: str) -> None:
    """Adds the command modules of these names as sub-commands."""
    commands = parser.add_subparsers(dest=dest, required=True, metavar=dest.upper())
    for name, path in modules.items():
        module = import_module(path)
        command = commands.add_parser(
            name,
            help=(module.__doc__ or '').split('\n')[0].rstrip('.'),
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        if hasattr(module, 'run'):
            command.set_defaults(run=module.run)


def exit_code(name: str, work: Callable[[], int | None]) -> int:
    """Runs the work of a command and prints expected errors on stderr; bugs raise."""
    try:
        return work() or DONE
    except UserError as error:
        problems, code = error.problems, USER_ERROR
    except RunEnded as error:
        problems, code = [str(error)], FAILED
    except KeyboardInterrupt:
        problems, code = [f'interrupted; {AGAIN}'], STOPPED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # e.g. `aesop options FILE | head`
        return FAILED
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or any(text in str(error) for text in NO_MEMORY)):
            raise
        what = str(error).strip().partition('\n')[0] or 'MemoryError'
        problems, code = [f'out of memory ({what}). {SMALLER}'], FAILED
    except OSError as error:
        if error.filename is None and error.errno not in FULL:
            raise
        remedy = f'; free some space on that disk; {AGAIN}' if error.errno in FULL else ''
        problems, code = [f'{error.filename or "disk"}: {error.strerror}{remedy}'], USER_ERROR
    sys.stderr.writelines(f'{name}: {problem}\n' for problem in problems)
    return code
