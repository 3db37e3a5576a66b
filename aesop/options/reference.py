"""The schema for people (docs/options.md) and for editors (options/schema.json)."""

import inspect
import json
from collections.abc import Iterator
from typing import Any

from aesop.options import schema_for
from aesop.options.translate import IGNORED
from aesop.registry import ARCHS, DATASETS, LOSSES, METRICS, MODELS, Registry

KINDS = {'Network': ARCHS, 'Loss': LOSSES, 'Metric': METRICS, 'Dataset': DATASETS}

INTRO = """# Option files
<!-- Written by `aesop options --docs`; the descriptions are in aesop/options/schema.py. -->

One YAML file describes one run. It is checked as a whole before the run starts, and all mistakes are reported together,
with file, line and key. `aesop options FILE` prints what a file comes to and where each value was written.

- `base: other.yml` (or a list) starts from other files, relative to this one. Blocks are completed key by key; a block
  of another `type` replaces that of the base; `key: ~` takes a block or value of the base away.
- `--set train.optim_g.lr=5e-5 datasets.train.batch_size_per_gpu=8` sets single keys, whatever the file says. The value
  is YAML and replaces what stood there: a new `type` keeps the other keys of its block, so change the whole block as in
  `--set 'network_d={type: VGGStyleDiscriminator256}'`. `--force_yml train:optim_g:lr=5e-5` is the same.
- `${NAME}` is an environment variable, `${NAME:-default}` with a default, and a leading `~/` is the home folder.
- `~` (null) means the default wherever a key takes no null. `1e-4` is a number, with or without a dot.
- A block with a `type` names a class; its other keys are the arguments of that class, listed at the end. Your own
  classes join in through `plugins: [my_package.my_module]`, a module that registers them when it is imported.
- Editors complete and check option files that start with `# yaml-language-server: $schema=PATH/TO/options/schema.json`.
"""


def json_schema() -> dict[str, Any]:
    """The JSON schema of an option file, with the names of all classes and of their arguments."""
    schema = schema_for({}).model_json_schema()
    for kind, registry in KINDS.items():
        block = schema['$defs'][kind]
        block['properties']['type'] = _one_of(registry, block['properties']['type'])
        block['allOf'] = [
            {
                'if': {'properties': {'type': {'const': name}}, 'required': ['type']},
                'then': {'properties': {argument: {} for argument, _ in _arguments(part)}},
            }
            for name, part in _parts(registry).items()
        ]
    schema['properties']['model_type'] = _one_of(MODELS, schema['properties']['model_type'])
    return schema


def _one_of(registry: Registry, described: dict[str, Any]) -> dict[str, Any]:
    """Completes known names and allows others, which plugins may register."""
    return {'anyOf': [{'enum': list(_parts(registry))}, {'type': 'string'}], 'description': described['description']}


def _parts(registry: Registry) -> dict[str, Any]:
    """The parts of aesop itself, without those of plugins, by name."""
    parts = {name: registry.get(name) for name in registry.names()}
    return {name: part for name, part in parts.items() if part.__module__.startswith('aesop.')}


def markdown() -> str:
    """The reference of all keys and classes."""
    schema = schema_for({}).model_json_schema()
    blocks = schema['$defs']
    lines = [INTRO, '## The file', *_table(schema)]
    for name, place in {
        'Dataset': 'datasets.NAME',
        'Paths': 'path',
        'Train': 'train',
        'Optimizer': 'train.optim_g, train.optim_d, train.optim_d_grad',
        'MultiStepLR': 'train.scheduler',
        'MultiStepRestartLR': 'train.scheduler',
        'CosineAnnealingRestartLR': 'train.scheduler',
        'Runtime': 'runtime',
        'Val': 'val',
        'Logger': 'logger',
        'Wandb': 'logger.wandb',
    }.items():
        lines += [f'## {place}' + (f': {name}' if place == 'train.scheduler' else ''), blocks[name]['description'], '']
        lines += _table(blocks[name])
    lines += ['## Keys of other programs', 'Accepted and without effect:', '']
    lines += [f'- `{key}`: {why}' for key, why in IGNORED.items()]
    lines += ['', '## Classes', '`=` shows the default of an argument; without one it must be given.', '']
    for title, registry in {'model_type': MODELS, **KINDS}.items():
        lines += [f'### {title}', '', '| type | arguments |', '|---|---|', *_classes(registry, registry is MODELS), '']
    return '\n'.join(lines).rstrip() + '\n'


def _table(block: dict[str, Any]) -> Iterator[str]:
    yield from ('| key | value | default | what |', '|---|---|---|---|')
    for key, field in block['properties'].items():
        default = f'`{json.dumps(field["default"])}`' if field.get('default') not in (None, {}, []) else ''
        yield f'| `{key}` | {_kind(field)} | {"" if "{" in default else default} | {field.get("description", "")} |'
    yield ''


def _kind(field: dict[str, Any]) -> str:
    """The values that a field takes, in words."""
    if '$ref' in field:
        return 'block'
    if 'anyOf' in field or 'oneOf' in field:
        return ' or '.join(dict.fromkeys(_kind(option) for option in field.get('anyOf') or field['oneOf']))
    if 'const' in field or 'enum' in field:
        return ' or '.join(f'`{value}`' for value in field.get('enum', [field.get('const')]))
    kind = field['type']
    if kind == 'array':
        return f'list ({_kind(field["items"])})'
    if kind == 'object':
        return 'blocks by name'
    low, high = field.get('minimum'), field.get('exclusiveMaximum', field.get('maximum'))
    bounds = (f', from {low}' if low is not None else '') + (
        f', up to {high}' if high is not None and high < 2**16 else ''
    )
    words = {'integer': 'whole number', 'number': 'number', 'boolean': 'true or false', 'string': 'text', 'null': '`~`'}
    return words[kind] + bounds


def _classes(registry: Registry, names_only: bool) -> Iterator[str]:
    aliases: dict[Any, list[str]] = {}
    for name, part in _parts(registry).items():
        aliases.setdefault(part, []).append(name)
    for part, names in sorted(aliases.items(), key=lambda pair: pair[1]):
        arguments = '' if names_only else ', '.join(f'`{n}{default}`' for n, default in _arguments(part))
        yield f'| {", ".join(f"`{name}`" for name in names)} | {arguments} |'


def _arguments(part: Any) -> Iterator[tuple[str, str]]:
    for name, parameter in inspect.signature(part).parameters.items():
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            empty = parameter.default is parameter.empty
            yield name, '' if empty else f'={str(parameter.default).replace("|", "/")}'
