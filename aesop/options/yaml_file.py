"""Option files as trees that remember where each value was written: YAML, `base:`, overrides, `${ENV}`, `~/`."""

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from aesop.errors import UserError

MAX_BYTES, MAX_DEPTH, MAX_VALUES = 1_000_000, 30, 20_000  # an option file that needs more is a mistake or an attack
TAG = 'tag:yaml.org,2002:'
Key = tuple[Any, ...]  # names, and positions in lists
Report = Callable[[str, Key, str], None]  # where, key, what is wrong


@dataclass
class Node:
    """A value and where it was written.

    value: a scalar, a list of nodes or a dict from str to node.
    where: 'FILE:LINE', '--set KEY=VALUE' or 'options' (a dict given by the caller).
    plain: whether a string stood there without quotes, so that `${ENV}` may turn it into a number.
    removes: whether it is a null over something that a base or an earlier override says.
    """

    value: Any
    where: str
    plain: bool = False
    removes: bool = False

    def at(self, key: Key) -> 'Node':
        """The node at `key`, or its deepest block that exists."""
        if not key or not isinstance(self.value, (dict, list)) or key[0] not in self.names():
            return self
        return self.value[key[0]].at(key[1:])

    def names(self) -> Sequence[Any]:
        return list(self.value) if isinstance(self.value, dict) else range(len(self.value))

    def walk(self, key: Key = ()) -> Iterator[tuple[Key, 'Node']]:
        """This node and all below it, each with its key."""
        yield key, self
        if isinstance(self.value, (dict, list)):
            for name in self.names():
                yield from self.value[name].walk((*key, name))


class Loader(yaml.SafeLoader):
    """YAML 1.1 without its traps: 1e-4 is a number; 1:30, 010 and 2024-01-01 are text."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in pairs if tag.removeprefix(TAG) in ('null', 'bool', 'merge')]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.YAMLError(f'nested deeper than {MAX_DEPTH} levels')
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


FLOAT = re.compile(
    r'[-+]?(?:\d[\d_]*\.[\d_]*|\.\d[\d_]*|\d[\d_]*(?=[eE]))(?:[eE][-+]?\d+)?$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$'
)
Loader.add_implicit_resolver(TAG + 'float', FLOAT, list('-+.0123456789'))
Loader.add_implicit_resolver(
    TAG + 'int', re.compile(r'[-+]?(?:0|[1-9][\d_]*|0x[\da-fA-F]+|0b[01]+)$'), list('-+0123456789')
)


def read(source: str | os.PathLike | Mapping, overrides: Sequence[str], report: Report) -> tuple[Node, Any]:
    """The merged tree of an option file (or dict) with its bases and overrides, and the same as plain data.

    Args:
        source: path of a YAML file, or what such a file holds.
        overrides: 'a.b=value' or 'a:b=value' (the last key is set to the value, whatever stood there).
        report: called with every mistake that does not stop the reading; a file that cannot be read raises UserError.
    """
    reader = _Reader(report)
    if isinstance(source, Mapping):
        tree = reader.inherit(reader.from_data(source, 'options', ()), Path(), ())
    else:
        tree = reader.file(Path(source).expanduser(), ())
    for override in overrides:
        reader.override(tree, override)
    return tree, reader.resolve(tree, ())


class _Reader:
    def __init__(self, report: Report) -> None:
        self.report = report
        self.values = 0

    def file(self, path: Path, chain: tuple[str, ...]) -> Node:
        """The tree of a file over those of its bases; `chain`: the files that led here."""
        if os.path.abspath(path) in chain:
            raise UserError(f'{path}: base: the files inherit from each other in a circle; remove one `base:`')
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise UserError(f'{path}: cannot read the option file: {error.strerror or error}') from error
        except ValueError as error:
            raise UserError(f'{str(path)!r}: cannot be the name of an option file') from error
        if len(raw) > MAX_BYTES:
            raise UserError(f'{path}: is larger than {MAX_BYTES:,} bytes: not an option file')
        try:
            text = raw.decode('utf-8-sig')
        except UnicodeDecodeError as error:
            raise UserError(f'{path}: is not a text file in UTF-8: not an option file') from error
        node = self.parse(text, lambda line: f'{path}:{line}')
        if not isinstance(node.value, dict):
            raise UserError(f'{path}: an option file holds `key: value` lines, this one does not')
        return self.inherit(node, path.parent, (*chain, os.path.abspath(path)))

    def inherit(self, tree: Node, folder: Path, chain: tuple[str, ...]) -> Node:
        """`tree` over the files that its `base:` names, relative to `folder`; later ones win over earlier ones."""
        base = tree.value.pop('base', None)
        if base is None or base.value is None:
            return tree
        merged: Node | None = None
        for node in base.value if isinstance(base.value, list) else [base]:
            name = self.resolve(node, ('base',))
            if not isinstance(name, str) or not name:
                raise UserError(f'{node.where}: base: must be a file name or a list of them')
            try:
                parent = self.file(folder / name, chain)
            except UserError as error:
                raise UserError([f'{problem} (base of {node.where})' for problem in error.problems]) from error
            merged = parent if merged is None else merge(merged, parent)
        return tree if merged is None else merge(merged, tree)

    def parse(self, text: str, where: Callable[[int], str]) -> Node:
        """The tree of a YAML text; `where` names a line of it."""
        loader = None
        try:
            loader = Loader(text)
            node = loader.get_single_node()
        except (yaml.YAMLError, ValueError, OverflowError) as error:  # chr() and int() of the scanner raise the latter
            mark = getattr(error, 'problem_mark', None)
            line = mark.line + 1 if mark else loader.line + 1 if loader else 1
            what = ' '.join((getattr(error, 'problem', None) or str(error)).split())
            hint = ' (indent with spaces, not tabs)' if r"'\t'" in what else ''
            raise UserError(f'{where(line)}: is not valid YAML: {what}{hint}') from error
        if node is None:
            return Node(None, where(1))
        return self.convert(node, where, ())

    def convert(self, node: yaml.Node, where: Callable[[int], str], key: Key) -> Node:
        here = where(node.start_mark.line + 1)
        self.count(here)
        if len(key) > MAX_DEPTH:  # an alias may hold itself
            raise UserError(f'{here}: nested deeper than {MAX_DEPTH} levels')
        if isinstance(node, yaml.ScalarNode):
            if node.style is None and '${' in node.value and node.tag == TAG + 'str':
                return Node(node.value, here, plain=True)
            try:
                return Node(_scalar(node.tag, node.value), here)
            except (ValueError, KeyError):
                tag = node.tag.replace(TAG, '!!')
                self.report(here, key, f'"{node.value[:60]}" cannot be read as {tag}')
                return Node(None, here)
        if node.tag not in (TAG + 'map', TAG + 'seq'):
            self.report(here, key, f'the tag {node.tag.replace(TAG, "!!")} is not allowed in an option file')
            return Node(None, here)
        if isinstance(node, yaml.SequenceNode):
            return Node([self.convert(item, where, (*key, i)) for i, item in enumerate(node.value)], here)
        own, inherited = {}, {}
        for name_node, value_node in node.value:
            line = where(name_node.start_mark.line + 1)
            if not isinstance(name_node, yaml.ScalarNode):
                self.report(line, key, 'a key must be a word')
                continue
            name = name_node.value
            value = self.convert(value_node, where, (*key, name))
            if name_node.tag == TAG + 'merge':  # `<<: *anchor`
                for block in value.value if isinstance(value.value, list) else [value]:
                    inherited = {**(block.value if isinstance(block.value, dict) else {}), **inherited}
            elif name in own:
                self.report(line, (*key, name), f'is written twice, first at {own[name].where}')
            else:
                value.where = line
                own[name] = value
        return Node({**inherited, **own}, here)

    def from_data(self, value: Any, where: str, key: Key) -> Node:
        """The tree of plain data, e.g. of what yaml.safe_load returned."""
        self.count(where)
        if len(key) > MAX_DEPTH:
            raise UserError(f'{where}: nested deeper than {MAX_DEPTH} levels')
        if isinstance(value, Mapping):
            return Node({str(name): self.from_data(v, where, (*key, str(name))) for name, v in value.items()}, where)
        if isinstance(value, (list, tuple)):
            return Node([self.from_data(v, where, (*key, i)) for i, v in enumerate(value)], where)
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if isinstance(value, str):
            is_number = 'e' in value.lower() and FLOAT.match(value)  # PyYAML reads 1e-4 as text
            return Node(float(value) if is_number else value, where, plain='${' in value)
        if value is not None and not isinstance(value, (bool, int, float)):
            self.report(where, key, f'must be a plain value, not {type(value).__name__}')
            value = None
        return Node(value, where)

    def override(self, tree: Node, text: str) -> None:
        """Sets what 'a.b=value' or 'a:b=value' names."""
        where = f'--set {text}'
        path, equals, value = text.partition('=')
        key = tuple(path.strip().split(':' if ':' in path else '.'))
        if not equals or not all(key) or key[0] == 'base':
            self.report(where, (), 'an override is KEY=VALUE, e.g. train.optim_g.lr=1e-4 (and never `base`)')
            return
        try:
            node = self.parse(value, lambda line: where)
        except UserError as error:
            self.report(where, key, error.problems[0].removeprefix(f'{where}: '))
            return
        block = tree
        for i, name in enumerate(key[:-1]):
            block = block.value.setdefault(name, Node(None, where))
            if block.value is None:
                block.value, block.where = {}, where
            if not isinstance(block.value, dict):
                self.report(where, key, f'{".".join(key[: i + 1])} is no block; set it as a whole')
                return
        if node.value in (None, 'None'):  # the latter is what BasicSR's --force_yml understands
            node = Node(None, where, removes=key[-1] in block.value)
        block.value[key[-1]] = node

    def resolve(self, node: Node, key: Key) -> Any:
        """The plain data of a tree, with `${ENV}` and a leading `~/` expanded."""
        if isinstance(node.value, dict):
            return {name: self.resolve(child, (*key, name)) for name, child in node.value.items()}
        if isinstance(node.value, list):
            return [self.resolve(child, (*key, i)) for i, child in enumerate(node.value)]
        value = node.value
        if isinstance(value, str) and '${' in value:
            value = re.sub(r'\$\{([^}]*)\}?', lambda match: self.environment(match, node.where, key), value)
            if node.plain:
                value = _scalar(_tag(value), value)
        if isinstance(value, str):
            if any(c == '\0' or '\ud800' <= c <= '\udfff' for c in value):
                self.report(node.where, key, 'holds a character that no text has')
                return ''
            return os.path.expanduser(value) if value.startswith('~/') else value
        if isinstance(value, float) and not math.isfinite(value) or isinstance(value, int) and abs(value) >= 2**63:
            self.report(node.where, key, 'must be a finite number')
            return 0
        return value

    def environment(self, match: re.Match, where: str, key: Key) -> str:
        name, has_default, default = match[1].partition(':-')
        if not match[0].endswith('}') or not re.fullmatch(r'[A-Za-z_]\w*', name):
            self.report(where, key, f'{match[0][:60]} is neither ${{NAME}} nor ${{NAME:-default}}')
        elif name not in os.environ and not has_default:
            self.report(where, key, f'the environment variable {name} is not set; set it or write ${{{name}:-default}}')
        return os.environ.get(name) or default

    def count(self, where: str) -> None:
        self.values += 1
        if self.values > MAX_VALUES:
            raise UserError(
                f'{where}: the options hold more than {MAX_VALUES:,} values (aliases repeat what they name)'
            )


def merge(base: Node, child: Node) -> Node:
    """`child` over `base`, block by block; a block of another `type` replaces that of the base."""
    if child.value is None:
        return Node(None, child.where, removes=True)
    if not isinstance(base.value, dict) or not isinstance(child.value, dict):
        return child
    types = [block.value['type'].value for block in (base, child) if 'type' in block.value]
    if len(types) == 2 and types[0] != types[1]:
        return child
    both = {name: merge(base.value[name], child.value[name]) for name in child.value if name in base.value}
    return Node({**base.value, **child.value, **both}, child.where)


def _tag(text: str) -> str:
    """What YAML takes an unquoted text for."""
    for tag, pattern in Loader.yaml_implicit_resolvers.get(text[:1], []):
        if pattern.match(text):
            return tag
    return TAG + 'str'


def _scalar(tag: str, text: str) -> Any:
    match tag.removeprefix(TAG):
        case 'null':
            return None
        case 'bool':
            return yaml.SafeLoader.bool_values[text.lower()]
        case 'int':
            return int(text.replace('_', ''), base=0)
        case 'float':
            return float(re.sub(r'\.(?=inf|nan)', '', text.lower()))
        case 'str' | 'merge':
            return text
    raise ValueError(tag)
