"""Options as YAML that says where each value was written."""

from typing import Any

from aesop.options.schema import Options, dump_yaml


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
