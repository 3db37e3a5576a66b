"""What the types of the schema cannot say: names of classes and their arguments, combinations, and the sentences."""

import importlib
import inspect
import json
import re
import reprlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, get_args, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    PydanticSchemaGenerationError,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)

from aesop.errors import UserError
from aesop.options import schema
from aesop.options.yaml_file import Key
from aesop.registry import ARCHS, DATASETS, LOSSES, METRICS, MODELS, did_you_mean

Problem = tuple[Key, str]
Find = Callable[[str], Any]  # the class (or function) of a name; UserError where there is none

LOSS_KEYS = ('pixel_opt', 'pixel_at_LR_opt', 'aesop_opt', 'artifacts_opt', 'perceptual_opt', 'branch_opt')
LOSS_KEYS += ('gan_opt', 'gan_grad_opt')
UNUSABLE = ('LBFGS', 'Muon', 'Optimizer', 'SparseAdam')  # these want a closure, or not the tensors of a network

SELF_EVIDENT = ('extra_forbidden', 'missing', 'union_tag_invalid', 'union_tag_not_found')
BOUNDS = {'gt': 'above', 'ge': 'at least', 'lt': 'below', 'le': 'at most'}

quote = reprlib.Repr()
quote.maxstring = quote.maxother = 60
quote.maxlevel = 2


def drop_ignored(data: dict[str, Any]) -> list[str]:
    """Removes from `data` the keys that mean nothing here; their names.

    Entries of blocks by name that are `~` go too, without a word: that takes away what a base has there.
    """
    dropped = []
    for pattern in (('datasets',), ('train', 'losses'), ('val', 'metrics'), ('datasets', '*', 'metrics')):
        for _, block in _matches(data, pattern):
            for name in [name for name, entry in block.items() if entry is None]:
                del block[name]
    for pattern in schema.IGNORED:
        *blocks, last = pattern.split('.')
        for key, block in _matches(data, tuple(blocks)):
            if last in block:
                del block[last]
                dropped.append('.'.join((*key, last)))
    return dropped


def _matches(data: Any, pattern: Key, key: Key = ()) -> Iterator[tuple[Key, dict[str, Any]]]:
    if not isinstance(data, dict):
        return
    if not pattern:
        yield key, data
    for name in list(data) if pattern[:1] == ('*',) else [n for n in pattern[:1] if n in data]:
        yield from _matches(data[name], pattern[1:], (*key, name))


def import_plugins(data: dict[str, Any]) -> Iterator[Problem]:
    """Imports the modules that `plugins` names, so that their parts are registered."""
    plugins = data.get('plugins')
    for i, name in enumerate(plugins if isinstance(plugins, list) else []):
        if isinstance(name, str) and re.fullmatch(r'\w+(\.\w+)*', name):
            try:
                importlib.import_module(name)
            except Exception as error:  # whatever a user's module does wrong
                yield ('plugins', i), f'cannot import {name}: {type(error).__name__}: {error}'


# Sentences for what pydantic found


def sentences(error: ValidationError, data: Any, at: Key = (), known: list[str] | None = None) -> list[Problem]:
    """What is wrong at which key. The several ways in which one value fits no member of a union become one sentence.

    Args:
        data: what was validated; `at`: the key where it stands in the options.
    """
    found: dict[Key, list[str]] = {}
    inputs: dict[Key, str] = {}
    for detail in error.errors(include_url=False):
        if detail['type'] in ('is_instance_of', 'needs_python_object'):  # e.g. the tensor that a rate may be too
            continue
        key, block = (), data
        for part in detail['loc']:
            inside = part in block if isinstance(block, dict) else isinstance(block, list) and part in range(len(block))
            if inside:
                key, block = (*key, part), block[part]
        found.setdefault((*at, *key), []).append(_sentence(detail))
        if detail['type'] not in SELF_EVIDENT:
            inputs[(*at, *key)] = f', not {_words(block)}'
    return [(key, ' or '.join(dict.fromkeys(parts)) + inputs.get(key, '')) for key, parts in found.items()]


def _words(value: Any) -> str:
    """A value as an option file would say it, cut to what a message can hold."""
    if isinstance(value, dict):
        return 'a block'
    if value is None or isinstance(value, bool):
        return {None: '~', True: 'true', False: 'false'}[value]
    return quote.repr(value)


def _sentence(detail: dict[str, Any]) -> str:
    context, loc = detail.get('ctx', {}), detail['loc']
    match detail['type']:
        case 'extra_forbidden':
            return f'there is no such key.{_nearest_key(loc)}'
        case 'missing':
            return f'needs "{loc[-1]}"' if isinstance(loc[-1], str) else 'has too few values'
        case 'union_tag_not_found':
            return 'needs "type"'
        case 'union_tag_invalid':
            known = re.findall(r"'(\w+)'", context['expected_tags'])
            hint = did_you_mean(str(context['tag'])[:60], known) or f' Known: {", ".join(known)}.'
            return f'there is no scheduler "{str(context["tag"])[:60]}".{hint}'
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


def _nearest_key(loc: Key) -> str:
    models: list[type[BaseModel]] = [schema.Options]
    for part in loc[:-1]:
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        models = [inner for field in fields for inner in _models_in(field.annotation)] or models
    name = str(loc[-1])[:60]
    hint = did_you_mean(name, [known for model in models for known in model.model_fields])
    homes = [
        '.'.join((block, name))
        for block, field in schema.Options.model_fields.items()
        for model in _models_in(field.annotation)
        if name in model.model_fields and not issubclass(model, schema.Part)
    ]
    return f' Did you mean "{homes[0]}"?' if homes else hint


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


# Blocks with a `type:`


def check_parts(data: dict[str, Any]) -> Iterator[Problem]:
    """Checks each block with a `type` against its class. An argument that is ~ and takes no null is dropped."""
    model_type = data.get('model_type')
    if isinstance(model_type, str):
        try:
            MODELS.get(model_type[:100])
        except UserError as error:
            yield ('model_type',), str(error)
    for key, block, find in _parts(data):
        problems = list(_check_part(key, block, find))
        yield from problems
        if find == _optimizer and not problems:
            yield from _check_values(key, block)


def _parts(data: dict[str, Any]) -> Iterator[tuple[Key, Any, Find]]:
    for name in ('network_g', 'network_d', 'network_d_grad'):
        yield from ((key, block, ARCHS.get) for key, block in _matches(data, (name,)))
    for name in LOSS_KEYS:
        yield from ((key, block, LOSSES.get) for key, block in _matches(data, ('train', name)))
    yield from ((key, block, LOSSES.get) for key, block in _matches(data, ('train', 'losses', '*')))
    for name in ('optim_g', 'optim_d', 'optim_d_grad'):
        yield from ((key, block, _optimizer) for key, block in _matches(data, ('train', name)))
    yield from ((key, block, DATASETS.get) for key, block in _matches(data, ('datasets', '*')))
    for pattern in (('val', 'metrics', '*'), ('datasets', '*', 'metrics', '*')):
        yield from ((key, block, METRICS.get) for key, block in _matches(data, pattern))


def _optimizer(name: str) -> Any:
    import torch  # here, so that options without training load at once

    known = [n for n, c in vars(torch.optim).items() if inspect.isclass(c) and n not in UNUSABLE]
    if name not in known:
        hint = did_you_mean(name, known) or f' Known: {", ".join(known)}.'
        raise UserError(f'there is no optimiser "{name}".{hint}')
    return getattr(torch.optim, name)


def _check_values(key: Key, block: dict[str, Any]) -> Iterator[Problem]:
    """What torch itself says about an optimiser's values, e.g. of a negative weight decay."""
    import torch

    if not _get(block, str, 'type') or (_get(block, (int, float), 'lr') or -1) < 0:
        return  # the schema says so
    arguments = {name: value for name, value in block.items() if name != 'type'}
    try:
        _optimizer(block['type'])([torch.zeros(1, requires_grad=True)], **arguments)
    except (TypeError, ValueError) as error:
        yield key, f'{block["type"]} refuses its arguments: {error}'
    except RuntimeError:  # a matter of the device
        pass


# Keys of a block that the schema checks; the others are arguments of the class.
NOT_THE_CLASSES = {DATASETS.get: tuple(schema.Dataset.model_fields), _optimizer: tuple(schema.Optimizer.model_fields)}


def _check_part(key: Key, block: dict[str, Any], find: Find, default: str | None = None) -> Iterator[Problem]:
    type_ = block.get('type', default)
    if not isinstance(type_, str):
        return  # the schema says so
    try:
        part = find(type_[:100])
    except UserError as error:
        yield (*key, 'type'), str(error)
        return
    parameters = inspect.signature(part).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    ours = NOT_THE_CLASSES.get(find, ('type', 'placeholder') if key[-1] == 'enc_opt' else ('type',))
    known = [name for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if find == _optimizer:
        known.remove('params')  # the network's tensors
    hints = _hints(part)
    for name in [n for n in block if n not in ours or n in known]:
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
        yield from _check_size((*key, name), block.get(name), part, parameters[name].default)
        yield from _check_inner((*key, name), block.get(name))
    for name in known:
        if parameters[name].default is inspect.Parameter.empty and name not in (
            *block,
            'scale',
            'seed',
        ):  # these two are the run's own
            yield key, f'{type_} needs the argument "{name}"'


def _check_size(key: Key, value: Any, part: Any, default: Any) -> Iterator[Problem]:
    """Channels, depths, scales, borders: a number that is positive by default cannot be turned off by 0."""
    if type(value) is type(default) is int and _is_ours(part):
        least = 1 if default > 0 and key[-1] not in ('num_block', 'nb') else 0
        if value < least:
            yield key, f'must be at least {least}, not {value}'


def _is_ours(part: Any) -> bool:
    """Whether a part belongs to aesop; what a plugin means by its arguments, it knows itself."""
    return getattr(part, '__module__', '').startswith('aesop.')


def _check_inner(key: Key, value: Any) -> Iterator[Problem]:
    """Blocks inside the arguments of networks, losses and data sets."""
    if not isinstance(value, dict):
        return
    if key[-1] in ('dec_opt', 'autoencoder_arch'):
        if isinstance(value.get('type'), str):
            yield from _check_part(key, value, ARCHS.get)
        else:
            yield key, 'needs "type"'
    elif key[-1] == 'enc_opt':
        yield from _check_part(key, value, ARCHS.get, default='RRDBEncoder')
    elif key[-1] == 'autoencoder_load':
        for name in value:
            if name not in ('path', 'key'):
                yield (*key, name), f'there is no such key.{did_you_mean(name[:60], ["path", "key"])}'
            elif not isinstance(value[name], str | None):
                yield (*key, name), f'must be text, not {_words(value[name])}'


@cache
def _hints(part: Any) -> dict[str, Any]:
    try:
        return get_type_hints(part.__init__ if inspect.isclass(part) else part)
    except (NameError, TypeError):  # names that exist for type checkers alone
        return {}


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
            return sentences(error, value, key)
    return []


# Combinations. Each works on data that may be wrong elsewhere, so that all mistakes are told at once.


def check_combinations(data: dict[str, Any]) -> list[Problem]:
    checks = (_check_scale, _check_patch, _check_channels, _check_losses, _check_model, _check_scheduler)
    return [problem for check in checks for problem in check(data)]


def _get(data: Any, kind: type, *key: str) -> Any:
    """The value at `key`, or None where there is none of that kind."""
    for name in key:
        data = data.get(name) if isinstance(data, dict) else None
    return data if isinstance(data, kind) and not isinstance(data, bool) else None


def _find(find: Find, block: Any) -> Any:
    try:
        return find(_get(block, str, 'type') or '')
    except UserError:
        return None


def _argument(find: Find, block: Any, *names: str) -> tuple[str, Any] | None:
    """The first argument of these names that the class has, and its value: the block's or the default."""
    part = _find(find, block)
    parameters = inspect.signature(part).parameters if part else {}
    for name in names:
        if name in parameters:
            default = parameters[name].default
            return name, block.get(name) or (None if default is inspect.Parameter.empty else default)
    return None


def _check_scale(data: dict[str, Any]) -> Iterator[Problem]:
    scale = _get(data, int, 'scale')
    if scale is None:
        return
    for key, block, find in _parts(data):
        if find == DATASETS.get or key[0] == 'network_d':
            continue
        inner = (
            ('autoencoder_arch', 'dec_opt')
            if 'autoencoder_arch' in block
            else ('dec_opt',)
            if 'dec_opt' in block
            else ()
        )
        part = block
        for name in inner:
            part, find, key = _get(part, dict, name), ARCHS.get, (*key, name)
        argument = _argument(find, part, 'upscale', 'scale') if _is_ours(_find(find, part)) else None
        if argument and isinstance(argument[1], int) and argument[1] != scale:
            name, value = argument
            where = (*key, name) if name in part else key
            yield where, f'{part["type"]} works at {name} {value}, and the options say `scale: {scale}`'


def _check_patch(data: dict[str, Any]) -> Iterator[Problem]:
    scale = _get(data, int, 'scale')
    # Where the degradation runs on the device, the networks see its crop, not that of the data set.
    key = ('gt_size',) if _get(data, int, 'gt_size') else ('datasets', 'train', 'gt_size')
    patch = _get(data, int, *key)
    if not patch or patch < 0:
        return
    if scale and scale > 0 and patch % scale:
        yield key, f'{patch} is no multiple of the scale, {scale}'
    block = _get(data, dict, 'network_d')
    named = re.fullmatch(r'VGGStyleDiscriminator(\d+)', _get(block, str, 'type') or '')
    argument = ('type', int(named[1])) if named else _argument(ARCHS.get, block, 'input_size')
    if argument and isinstance(argument[1], int) and argument[1] != patch:
        yield key, f'{patch} does not fit network_d: {block["type"]} takes patches of {argument[1]}'


# model -> what only it reads
WITHOUT_EFFECT: dict[str, tuple[Key, ...]] = {
    'GANModel': (
        ('network_d',),
        ('network_d_grad',),
        ('path', 'pretrain_network_d'),
        ('path', 'pretrain_network_d_grad'),
        *(('train', f'optim_{which}') for which in ('d', 'd_grad')),
        *(('train', f'{loss}_opt') for loss in ('gan', 'gan_grad', 'artifacts', 'branch')),
    ),
    'AEModel': (('train', 'pixel_at_LR_opt'),),
}


def _check_channels(data: dict[str, Any]) -> Iterator[Problem]:
    gray = any(_get(block, str, 'color') == 'y' for _, block in _matches(data, ('datasets', '*')))
    for name in ('network_g', 'network_d', 'network_d_grad'):
        block = _get(data, dict, name)
        argument = _argument(ARCHS.get, block, 'num_in_ch', 'in_nc', 'in_chans', 'input_nc')
        if argument and argument[1] != (1 if gray else 3) and isinstance(argument[1], int):
            yield (name, argument[0]), f'is {argument[1]}, and the images have {"one channel" if gray else "3, RGB"}'


def _check_losses(data: dict[str, Any]) -> Iterator[Problem]:
    for key, block, find in _parts(data):
        loss = _find(LOSSES.get, block)
        if find != LOSSES.get or loss is None:
            continue
        is_gan = any(base.__name__ == 'GANLoss' for base in getattr(loss, '__mro__', ()))
        if (key[-1] in ('gan_opt', 'gan_grad_opt')) != is_gan and _is_ours(loss):
            yield (*key, 'type'), f'{block["type"]} is {"an" if is_gan else "no"} adversarial loss'
        if block.get('reduction') == 'none':
            yield (*key, 'reduction'), "none gives an image, and training needs a number: take 'mean' or 'sum'"


def _check_model(data: dict[str, Any]) -> Iterator[Problem]:
    model_type = _get(data, str, 'model_type')
    model, network = _find(MODELS.get, {'type': model_type}), _get(data, dict, 'network_g')
    name = getattr(model, '__name__', None)
    if name == 'AEModel' and network:
        part = _find(ARCHS.get, network)
        if _is_ours(part) and 'dec_opt' not in inspect.signature(part).parameters:
            yield ('network_g', 'type'), f'{network["type"]} has no encoder; {model_type} trains an auto-encoder'
    if _get(data, dict, 'train') and schema.is_adversarial(model_type) and data.get('network_d') is None:
        yield ('model_type',), f'{model_type} trains a discriminator: network_d is missing'
    for reader, keys in WITHOUT_EFFECT.items():
        for key in keys:
            if _is_ours(model) and name != reader and _get(data, object, *key) is not None:
                yield key, f'{model_type} would ignore it; remove it, or take another model_type'
    if name == 'GANModel' and data.get('network_d_grad') is None:
        for key in (('train', 'optim_d_grad'), ('train', 'gan_grad_opt')):
            if _get(data, object, *key):
                yield key, 'is for network_d_grad, which is missing'
    forward = getattr(_find(ARCHS.get, network or {}), 'forward', None)
    has_branch = forward is None or 'return_branch' in inspect.signature(forward).parameters
    if _get(data, dict, 'train', 'branch_opt') and not has_branch:
        yield ('train', 'branch_opt'), f'{network["type"]} has no gradient branch; SPSRNet has'
    if _get(data, dict, 'train', 'artifacts_opt') and not _get(data, (int, float), 'train', 'ema_decay'):
        yield ('train', 'artifacts_opt'), 'compares with the moving average of the generator: set ema_decay, e.g. 0.999'


def _check_scheduler(data: dict[str, Any]) -> Iterator[Problem]:
    key = ('train', 'scheduler')
    weights = _get(data, list, *key, 'restart_weights')
    for name in ('periods', 'restarts'):
        steps = _get(data, list, *key, name)
        if steps and weights and len(weights) != len(steps) and (name == 'restarts' or len(weights) > 1):
            yield (*key, 'restart_weights'), f'has {len(weights)} values for {len(steps)} {name}'
