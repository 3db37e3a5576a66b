"""Options: YAML with `base:` and overrides -> one validated, read-only object. Every mistake is reported at once."""

import copy
import logging
import os
import re
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from aesop.errors import UserError
from aesop.options.parts import check_model_type, check_parts, import_plugins
from aesop.options.schema import Options, assemble
from aesop.options.sentences import sentences
from aesop.options.translate import foreign, foreign_text, translate
from aesop.options.yaml_file import Key, read
from aesop.registry import MODELS

__all__ = ['Options', 'load_options', 'schema_for']

logger = logging.getLogger(__name__)


def schema_for(data: Mapping[str, Any]) -> type[Options]:
    """The schema of an option file: what its model type declares, or, where it names none, what all of them do."""
    networks: dict[str, str] = {}
    models = _models(data.get('model_type'))
    for model in models:
        networks |= model.network_names(data)
    return assemble(tuple(models), tuple(networks.items()))


def _models(model_type: Any) -> list[Any]:
    """The model class of that name, or all there are."""
    names = MODELS.names()
    chosen = [model_type] if isinstance(model_type, str) and model_type in names else names
    return list(dict.fromkeys(MODELS.get(name) for name in chosen))


def load_options(path_or_dict: str | os.PathLike | Mapping[str, Any], overrides: Sequence[str] = ()) -> Options:
    """The options of a YAML file, or of a dict that holds what such a file says.

    Args:
        path_or_dict: left unchanged.
        overrides: 'train.optim_g.lr=5e-5' or 'train:optim_g:lr=5e-5'; the value is YAML and replaces what stood there.

    Raises:
        UserError: everything that is wrong, one mistake a line: `FILE:LINE: key: what. Did you mean "x"?`
    """
    problems: list[str] = []

    def report(where: str, key: Key, what: str) -> None:
        name = '.'.join(str(part)[:60] for part in key)
        line = f'{where}: {name}: {what}' if name else f'{where}: {what}'
        problems.append(''.join(c if c.isprintable() else '?' for c in line))

    try:
        tree, data = read(path_or_dict, overrides, report)
    except UserError:
        if not isinstance(path_or_dict, Mapping) and (told := foreign_text(_text(path_or_dict))):
            raise UserError(f'{path_or_dict}: {told}') from None
        raise
    if told := foreign(data):
        raise UserError(f'{path_or_dict if isinstance(path_or_dict, str | os.PathLike) else "options"}: {told}')
    ignored = translate(data)
    plugins = list(import_plugins(data))
    schema = schema_for(data)
    without_effect, of_others = _drop_without_effect(data, schema)
    options, wrong = _validated(data, schema, bool(plugins))
    if removed := [key for key, _ in wrong if tree.at(key).removes]:  # no part has them any more
        for key in removed:
            del reduce(getitem, key[:-1], data)[key[-1]]
        options, wrong = _validated(data, schema, bool(plugins))
    found = [*wrong, *plugins, *of_others]
    found += _combinations(options, data, schema, [key for key, _ in found])
    for key, what in dict.fromkeys(found):
        report(tree.at(key).where, key, what)
    if problems or options is None:
        raise UserError(dict.fromkeys(problems))
    if ignored:
        logger.info('keys of other programs that mean nothing here: %s', ', '.join(ignored))
    if without_effect:
        logger.info('keys without effect on a %s: %s', options.model_type, ', '.join(without_effect))
    sources = {
        '.'.join(map(str, key)): 'override' if node.where.startswith('--set ') else node.where
        for key, node in tree.walk()
    }
    options.set_sources(sources)
    return options


def _validated(
    data: dict[str, Any], schema: type[Options], failed_plugin: bool
) -> tuple[Options | None, list[tuple[Key, str]]]:
    """The options, or None, and what is wrong with each key on its own."""
    # What a failed plugin would have registered is not missing.
    found = [] if failed_plugin else [*check_model_type(data), *check_parts(data, schema)]
    try:
        return schema.model_validate(data), found
    except ValidationError as error:
        return None, [*sentences(error, data, schema), *found]


def _text(path: str | os.PathLike) -> str:
    try:
        return Path(path).read_bytes()[:100_000].decode('utf-8', 'replace')
    except OSError:
        return ''


def _combinations(
    options: Options | None, data: Mapping[str, Any], schema: type[Options], wrong: list[Key]
) -> list[tuple[Key, str]]:
    """What does not fit together. Where something is wrong in itself, the rest is tried without the block it is in."""
    removed = {key[: 1 if str(key[0]).startswith('network_') else 2] for key in wrong if key}
    if options is None or wrong:
        rest = copy.deepcopy(dict(data))
        for key in removed:
            block = rest if len(key) == 1 else rest.get(key[0])
            if isinstance(block, dict):
                block.pop(key[-1], None)
        try:
            options = schema.model_validate(rest)
        except ValidationError:
            return []
    return [
        (key, what)
        for key, what in options.model().check(options)
        if not wrong or (removed.isdisjoint({key[:1], key[:2]}) and not re.search('missing|nothing provides', what))
    ]


def _drop_without_effect(data: dict[str, Any], schema: type[Options]) -> tuple[list[str], list[tuple[Key, str]]]:
    """Keys that only other model types read. Published files carry some: plain values are dropped, their names
    returned; blocks and weights, which somebody means something by, are mistakes."""
    everything = schema_for({key: value for key, value in data.items() if key != 'model_type'})
    dropped, found = [], []
    for place in ('', 'train', 'path'):
        block: Any = data if not place else data.get(place)
        ours, theirs = (_fields(one, place) for one in (schema, everything))
        for name in [name for name in block if name in theirs - ours] if isinstance(block, dict) else ():
            value = block[name]
            if isinstance(value, dict) or (str(name).startswith('pretrain_network') and value):
                key = (place, name) if place else (name,)
                found.append((key, f'{data["model_type"]} would ignore it; remove it, or take another model_type'))
            else:
                dropped.append(f'{place}.{name}')
            del block[name]
    return dropped, found


def _fields(schema: Any, place: str) -> set[str]:
    if not place:
        return set(schema.model_fields)
    annotation = schema.model_fields[place].annotation
    return {name for kind in (annotation, *get_args(annotation)) for name in getattr(kind, 'model_fields', ())}
