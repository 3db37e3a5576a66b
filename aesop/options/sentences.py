"""Sentences for what pydantic finds wrong with option files."""

import inspect
import re
import reprlib
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError

from aesop.options.yaml_file import Key
from aesop.registry import did_you_mean

Problem = tuple[Key, str]

SELF_EVIDENT = ('extra_forbidden', 'missing', 'union_tag_invalid', 'union_tag_not_found')
BOUNDS = {'gt': 'above', 'ge': 'at least', 'lt': 'below', 'le': 'at most'}

quote = reprlib.Repr()
quote.maxstring = quote.maxother = 60
quote.maxlevel = 2


def sentences(error: ValidationError, data: Any, schema: type[BaseModel] | None = None, at: Key = ()) -> list[Problem]:
    """What is wrong at which key. The several ways in which one value fits no member of a union become one sentence.

    Args:
        data: what was validated; `at`: the key where it stands in the options; `schema`: of the whole file.
    """
    found: dict[Key, list[str]] = {}
    inputs: dict[Key, str] = {}
    for detail in error.errors(include_url=False):
        if detail['type'] in ('is_instance_of', 'needs_python_object'):  # e.g. the tensor that a rate may be too
            continue
        key, block, loc = (), data, cast(Key, detail['loc'])
        for part in loc:
            inside = part in block if isinstance(block, dict) else isinstance(block, list) and part in range(len(block))
            if inside:
                key, block = (*key, part), block[part]
        found.setdefault((*at, *key), []).append(_sentence(detail, schema))
        if detail['type'] not in SELF_EVIDENT:
            inputs[(*at, *key)] = f', not {words(block)}'
    return [(key, ' or '.join(dict.fromkeys(parts)) + inputs.get(key, '')) for key, parts in found.items()]


def words(value: Any) -> str:
    """A value as an option file would say it, cut to what a message can hold."""
    if isinstance(value, dict):
        return 'a block'
    if value is None or isinstance(value, bool):
        return {None: '~', True: 'true', False: 'false'}[value]
    return quote.repr(value)


def _sentence(detail: Any, schema: type[BaseModel] | None) -> str:
    context, loc = detail.get('ctx', {}), detail['loc']
    match detail['type']:
        case 'extra_forbidden':
            return f'unknown key.{_nearest_key(loc, schema)}'
        case 'missing':
            return f'needs "{loc[-1]}"' if isinstance(loc[-1], str) else 'has too few values'
        case 'union_tag_not_found':
            return 'needs "type"'
        case 'union_tag_invalid':
            known = re.findall(r"'(\w+)'", context['expected_tags'])
            hint = did_you_mean(str(context['tag'])[:60], known) or f' Known: {", ".join(known)}.'
            return f'unknown scheduler "{str(context["tag"])[:60]}".{hint}'
        case 'int_type' | 'int_from_float' | 'int_parsing_size':
            return 'must be a whole number'
        case 'float_type' | 'finite_number':
            return 'must be a number'
        case 'bool_type':
            return 'must be true or false'
        case 'string_type':
            number = isinstance(detail['input'], int | float) and not isinstance(detail['input'], bool)
            return 'must be text (in quotes, where it looks like a number)' if number else 'must be text'
        case 'list_type' | 'tuple_type':
            return 'must be a list'
        case 'dict_type' | 'model_type' | 'model_attributes_type':
            return 'must be a block of keys'
        case 'none_required':
            return 'may be ~'
        case 'greater_than' | 'greater_than_equal' | 'less_than' | 'less_than_equal':
            ((name, limit),) = context.items()
            return f'must be {BOUNDS[name]} {limit}'
        case 'too_short' | 'too_long':
            limit = context.get('min_length', context.get('max_length'))
            return f'must have {"at least" if "min_length" in context else "at most"} {limit} values'
        case 'literal_error':
            return f'must be {context["expected"]}'
        case 'value_error':
            return str(context['error'])
    return detail['msg'][:1].lower() + detail['msg'][1:]


def _nearest_key(loc: Key, schema: type[BaseModel] | None) -> str:
    if schema is None:
        return ''
    models: list[type[BaseModel]] = [schema]
    for part in loc[:-1]:
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        models = [inner for field in fields for inner in models_in(field.annotation)] or models
    name = str(loc[-1])[:60]
    hint = did_you_mean(name, [known for model in models for known in model.model_fields])
    homes = [
        '.'.join((block, name))
        for block, field in schema.model_fields.items()
        for model in models_in(field.annotation)
        if name in model.model_fields and 'type' not in model.model_fields
    ]
    return f' Did you mean "{homes[0]}"?' if homes else hint


def models_in(annotation: Any) -> list[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in models_in(inner)]
