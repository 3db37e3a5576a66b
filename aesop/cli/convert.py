"""Turn an option file of BasicSR, Real-ESRGAN or traiNNer-redux into one of this project.

aesop convert train_realesrgan_x4plus.yml -o options/mine.yml

On top of the new file stands what was changed, what has no counterpart here, and what is left to do. Without -o it is
printed. docs/migrating.md tells more.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('file', type=Path, metavar='FILE', help='option file of another program')
    parser.add_argument('-o', '--output', type=Path, metavar='YML', help='a new file; default: it is printed')


def run(args: argparse.Namespace) -> None:
    from aesop.errors import UserError
    from aesop.options.convert import convert_file

    if args.output and args.output.exists():
        raise UserError(f'{args.output} exists: name another file with -o')
    this = convert_file(args.file)
    text = this.text(args.file.name)
    if args.output is None:
        sys.stdout.write(text)
        return
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(text, encoding='utf-8')
    told = f'{len(this.changed)} changes, {len(this.without)} keys without counterpart, {len(this.left)} left to do'
    sys.stdout.write(f'{args.output}: {told}; see its first lines\n')


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog='aesop convert', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(made)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """The command alone; returns the exit code."""
    from aesop.errors import DONE, USER_ERROR, UserError

    try:
        run(parser().parse_args(arguments))
    except UserError as error:
        sys.stderr.writelines(f'aesop convert: {problem}\n' for problem in error.problems)
        return USER_ERROR
    return DONE
