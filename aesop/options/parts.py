"""Checks of blocks with a `type:` against the class that they name: its arguments, their types, what must be given."""

import importlib
import inspect
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    PydanticSchemaGenerationError,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)

from aesop.errors import UserError
from aesop.options.schema import Optimizer, Part
from aesop.options.sentences import Problem, sentences, words
from aesop.options.yaml_file import Key
from aesop.registry import (
    ARCHS,
    DATASETS,
    LOSSES,
    METRICS,
    MODELS,
    BlockOf,
    KeysOf,
    MayBeZero,
    NameTaken,
    Registry,
    did_you_mean,
)

GIVEN_BY_THE_RUN = ('scale', 'seed')
LARGEST = 100_000  # of an argument that is a number of channels, layers or pixels


def import_plugins(data: dict[str, Any]) -> Iterator[Problem]:
    """Imports the modules that `plugins` names, so that their parts are registered."""
    plugins = data.get('plugins')
    for registry in (ARCHS, LOSSES, MODELS, DATASETS, METRICS) if plugins else ():
        registry.names()  # ours come first, so that a plugin which takes one of their names is the one reported
    for i, name in enumerate(plugins if isinstance(plugins, list) else []):
        if isinstance(name, str) and re.fullmatch(r'\w+(\.\w+)*', name):
            try:
                with importlib.import_module('aesop.archs.basicsr_shim').stand_in():  # files in BasicSR's style
                    importlib.import_module(name)
            except NameTaken as error:
                yield ('plugins', i), f'{name}: {error}'
            except Exception as error:  # whatever a user's module does wrong
                yield ('plugins', i), f'cannot import {name}: {type(error).__name__}: {error}'


def check_model_type(data: dict[str, Any]) -> Iterator[Problem]:
    model_type = data.get('model_type')
    if isinstance(model_type, str):
        try:
            MODELS.get(model_type[:100])
        except UserError as error:
            yield ('model_type',), str(error)


def check_parts(data: dict[str, Any], schema: type[BaseModel]) -> Iterator[Problem]:
    """Checks each block with a `type` against its class. An argument that is ~ and takes no null is dropped."""
    for key, block, kind in blocks(data, schema):
        problems = list(_check(key, block, kind.registry, tuple(kind.model_fields)))
        yield from problems
        if kind is Optimizer and not problems:
            yield from _check_values(key, block)


def blocks(data: Any, schema: type[BaseModel], key: Key = ()) -> Iterator[tuple[Key, dict[str, Any], type[Part]]]:
    """All blocks in `data`, which may be wrong elsewhere, that the schema says are parts of a registry."""
    for name, field in schema.model_fields.items():
        value = data.get(name)
        for model, by_name in _models(field.annotation):
            entries = value.items() if by_name and isinstance(value, dict) else [(None, value)]
            for entry, block in entries:
                if isinstance(block, dict):
                    where = (*key, name) if entry is None else (*key, name, entry)
                    if issubclass(model, Part) and model.registry is not None:
                        yield where, block, model
                    yield from blocks(block, model, where)


def _models(annotation: Any, by_name: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    """The models of an annotation, and whether they are the values of a dict."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation, by_name
    else:
        for inner in get_args(annotation):
            yield from _models(inner, by_name or get_origin(annotation) is dict)


def _check_values(key: Key, block: dict[str, Any]) -> Iterator[Problem]:
    """What an optimiser itself says about its values, e.g. of a negative weight decay."""
    import torch

    rate = block.get('lr')
    if not isinstance(block.get('type'), str) or not isinstance(rate, int | float) or rate < 0:
        return  # the schema says so
    arguments = {name: value for name, value in block.items() if name != 'type'}
    try:
        Optimizer.registry.get(block['type'])([torch.zeros(1, requires_grad=True)], **arguments)
    except (TypeError, ValueError) as error:
        yield key, f'{block["type"]} does not accept its arguments: {error}'
    except RuntimeError:  # a matter of the device
        pass


def _check(
    key: Key,
    block: dict[str, Any],
    registry: Registry,
    ours: tuple[str, ...],
    default: str | None = None,
    whole: bool = True,
) -> Iterator[Problem]:
    """Args: ours: keys of the block that are no arguments of the class; `default`, `whole`: see BlockOf."""
    type_ = block.get('type', default)
    if not isinstance(type_, str):
        if 'type' not in ours:
            yield key, 'needs "type"'
        return  # else the schema says so
    try:
        part = registry.get(type_[:100])
    except UserError as error:
        yield (*key, 'type'), str(error)
        return
    parameters = inspect.signature(part).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    known = [name for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if ours == tuple(Optimizer.model_fields):
        known.remove('params')  # the network's tensors
    hints = _hints(part)
    for name in [n for n in block if n != 'type' and (n not in ours or n in known)]:
        if name not in known:
            if not takes_any:
                hint = did_you_mean(name[:60], [*known, *ours]) or f' It has {", ".join(known) or "none"}.'
                yield (*key, name), f'{type_} has no such argument.{hint}'
            continue
        if name in hints and name not in ours:
            found = _misfit(hints[name], block[name], (*key, name))
            if found and block[name] is None and parameters[name].default is not inspect.Parameter.empty:
                del block[name]
                continue
            yield from found
        if is_ours(part):
            yield from _check_size((*key, name), block.get(name), parameters[name].default, hints.get(name))
        yield from _check_inner((*key, name), block.get(name), hints.get(name))
    for name in known if whole else ():
        if parameters[name].default is inspect.Parameter.empty and name not in (*block, *GIVEN_BY_THE_RUN):
            yield key, f'{type_} needs the argument "{name}"'


def _check_size(key: Key, value: Any, default: Any, hint: Any) -> Iterator[Problem]:
    """Channels, depths, scales, borders: a number that is positive by default is not 0, unless annotated so."""
    if type(value) is type(default) is int:
        may_be_zero = any(isinstance(kind, MayBeZero) for kind in _metadata(hint))
        least = 1 if default > 0 and not may_be_zero else 0
        if value < least:
            yield key, f'must be at least {least}, not {value}'
        if value > LARGEST:
            yield key, f'must be at most {LARGEST:,}, not {value:,}'


def is_ours(part: Any) -> bool:
    """Whether a part belongs to aesop; what a plugin means by its arguments, it knows itself."""
    return getattr(part, '__module__', '').startswith('aesop.')


def _check_inner(key: Key, value: Any, hint: Any) -> Iterator[Problem]:
    """Blocks inside the arguments of a part, where the argument's annotation says what they are."""
    for i, entry in enumerate(value if isinstance(value, list) else ()):
        yield from _check_inner((*key, i), entry, hint)
    if not isinstance(value, dict):
        return
    for kind in _metadata(hint):
        if isinstance(kind, BlockOf):
            yield from _check(key, value, kind.registry, kind.also, kind.default, kind.whole)
        elif isinstance(kind, KeysOf):
            for name in value:
                if name not in kind.names:
                    yield (*key, name), f'unknown key.{did_you_mean(name[:60], list(kind.names))}'
                elif not isinstance(value[name], str | None):
                    yield (*key, name), f'must be text, not {words(value[name])}'


def _metadata(hint: Any) -> Iterator[Any]:
    if get_origin(hint) is Annotated:
        yield from get_args(hint)[1:]
    for inner in get_args(hint):
        yield from _metadata(inner)


@cache
def _hints(part: Any) -> dict[str, Any]:
    hints = {}
    for function in (base.__init__ for base in reversed(part.__mro__)) if inspect.isclass(part) else (part,):
        with suppress(NameError, TypeError):  # names that exist only for type checkers
            hints |= get_type_hints(function, include_extras=True)
    return hints


@cache
def _adapter(hint: Any) -> TypeAdapter | None:
    try:
        return TypeAdapter(hint, config=ConfigDict(strict=True, arbitrary_types_allowed=True))
    except (PydanticSchemaGenerationError, PydanticUserError):  # not a type of plain data
        return None


def _misfit(hint: Any, value: Any, key: Key) -> list[Problem]:
    """How a value of an option file differs from the type that an argument is annotated with."""
    adapter = _adapter(hint)
    if adapter is not None:
        try:
            adapter.validate_json(json.dumps(value), strict=True)  # JSON: a list will do for a tuple
        except ValidationError as error:
            return sentences(error, value, at=key)
    return []
