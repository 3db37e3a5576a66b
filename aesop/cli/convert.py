"""Turn an option file of BasicSR, Real-ESRGAN or traiNNer-redux into one of this project.

aesop convert train_realesrgan_x4plus.yml -o options/mine.yml

The new file starts with a list of changes, of keys without counterpart, and of what is left to do. Without -o it is
printed. See docs/migrating.md.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('file', type=Path, metavar='FILE', help='option file of another program')
    parser.add_argument('-o', '--output', type=Path, metavar='YML', help='a new file; default: print it')


def run(args: argparse.Namespace) -> None:
    from aesop.errors import UserError
    from aesop.options.convert import convert_file
    from aesop.utils.console import say
    from aesop.utils.files import write_text

    if args.output and args.output.exists():
        raise UserError(f'{args.output} exists: name another file with -o')
    this = convert_file(args.file)
    text = this.text(args.file.name)
    if args.output is None:
        say(text.rstrip())
        return
    write_text(args.output, text)
    summary = f'{len(this.changed)} changes, {len(this.without)} keys without counterpart, {len(this.left)} left to do'
    say(f'{args.output}: {summary}; see its first lines')
