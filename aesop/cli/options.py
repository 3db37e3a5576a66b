"""Print the resolved options of a file, and where each value comes from.

aesop options FILE [--set KEY=VALUE ...]
aesop options --docs | --json-schema
"""

import argparse
import json
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('file', nargs='?', metavar='FILE', help='option file, or the name of a packaged recipe')
    parser.add_argument('--set', nargs='+', action='extend', default=[], metavar='KEY=VALUE', help='overrides options')
    parser.add_argument(
        '--force_yml', nargs='+', action='extend', default=[], dest='set', help='the same, as a:b=value'
    )
    parser.add_argument('--docs', action='store_true', help='print the reference of all keys (docs/options.md)')
    parser.add_argument('--json-schema', action='store_true', help='print the schema for editors (options/schema.json)')


def run(args: argparse.Namespace) -> None:
    from aesop.errors import UserError
    from aesop.options import load_options
    from aesop.options.annotated import annotated
    from aesop.options.reference import json_schema, markdown
    from aesop.utils.recipes import recipe

    if args.docs:
        text = markdown()
    elif args.json_schema:
        text = json.dumps(json_schema(), indent=1) + '\n'
    elif args.file is None:
        raise UserError('name an option file')
    else:
        text = annotated(load_options(recipe(args.file), args.set))
    sys.stdout.write(text)
