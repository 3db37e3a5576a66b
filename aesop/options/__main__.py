"""`python -m aesop.options FILE [--set KEY=VALUE ...]` prints the resolved options and where each value came from."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from aesop.errors import UserError
from aesop.options import Options, load_options
from aesop.options.reference import json_schema, markdown
from aesop.options.schema import dump_yaml


def annotated(options: Options) -> str:
    """The resolved options as YAML, each value followed by where it was written."""
    sources, lines = options.sources, []

    def add(block: dict[str, Any], key: tuple[str, ...]) -> None:
        for name, value in block.items():
            path = (*key, name)
            label = '  ' * len(key) + dump_yaml(name, default_style=None).splitlines()[0]
            if isinstance(value, dict) and value:
                lines.append(f'{label}:')
                add(value, path)
            else:
                text = dump_yaml(value, default_flow_style=True).removesuffix('\n').removesuffix('\n...')
                lines.append(f'{label}: {text}  # {sources[".".join(path)]}')

    add(options.to_dict(), ())
    return '\n'.join(lines) + '\n'


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m aesop.options', description=__doc__)
    parser.add_argument('file', nargs='?', help='option file')
    parser.add_argument('--set', nargs='+', action='extend', default=[], metavar='KEY=VALUE', help='overrides options')
    parser.add_argument('--docs', action='store_true', help='print the reference of all keys (docs/options.md)')
    parser.add_argument('--json-schema', action='store_true', help='print the schema for editors (options/schema.json)')
    args = parser.parse_args(arguments)
    if args.docs:
        sys.stdout.write(markdown())
    elif args.json_schema:
        sys.stdout.write(json.dumps(json_schema(), indent=1) + '\n')
    elif args.file is None:
        parser.error('an option file is needed')
    else:
        try:
            sys.stdout.write(annotated(load_options(args.file, args.set)))
        except UserError as error:
            sys.stderr.write(f'{error}\n')
            return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
