"""The architectures of the package spandrel (HAT, DAT, SPAN, RealPLKSR, ATD, ...), `pip install "aesop-sr[spandrel]"`.

All architectures in the package itself have permissive licences.
"""

import importlib
import inspect
import logging
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from aesop.archs.adapted import adapt, check_arguments
from aesop.errors import Unavailable, UserError
from aesop.registry import ARCHS, did_you_mean
from aesop.utils.checkpoint import COMPUTED, StateDict

logger = logging.getLogger(__name__)

MIN_SIZE = 16  # side of the smallest image that all of them support
OURS = ('ESRGAN', 'SwinIR', 'DRCT', 'Compact')  # implemented by networks of this project


@ARCHS.register()
def Spandrel(arch: str, **arguments: Any) -> nn.Module:
    """A network of spandrel, with its tensors under their published names: spandrel can load the saved weights.

    Args:
        arch: name of the class, e.g. HAT, DAT, SPAN, RealPLKSR, ATD, OmniSR, RGT.
        arguments: the arguments of that class, under its own names (`upscale`, `upscaling_factor`, ...).

    Raises:
        Unavailable: the package is not installed.
        UserError: the architecture is unknown, or it does not accept the arguments.
    """
    known = classes()
    if arch not in known:
        raise UserError(
            f'spandrel has no network "{arch}".{did_you_mean(arch, list(known)) or " Known: " + ", ".join(known)}'
        )
    check_arguments(known[arch], arguments)
    try:
        with torch.device('cpu'):  # some compute values, which the meta device does not support
            net = adapt(known[arch], FIXED_SCALES.get(arch), MIN_SIZE)(**arguments)
        return net.to(torch.empty(0).device)
    except (AssertionError, TypeError, ValueError, KeyError, IndexError, RuntimeError, NotImplementedError) as error:
        raise UserError(
            f'spandrel cannot build {arch} with these arguments: {error or type(error).__name__}'
        ) from error


FIXED_SCALES = {
    'UpCunet2x': 2,
    'UpCunet2x_fast': 2,
    'UpCunet3x': 3,
    'UpCunet4x': 4,
}  # not an argument: part of the name


def _package() -> Any:
    try:
        return importlib.import_module('spandrel')
    except ImportError as error:
        raise Unavailable(
            f'the package spandrel is not installed ({error}): pip install "aesop-sr[spandrel]"'
        ) from error


@lru_cache(maxsize=1)
def classes() -> dict[str, type[nn.Module]]:
    """spandrel's networks by name."""
    found: dict[str, type[nn.Module]] = {}
    for support in _package().MAIN_REGISTRY:
        module = importlib.import_module(type(support.architecture).__module__)
        parts = {name: getattr(module, name) for name in module.__all__}
        found |= {name: part for name, part in parts.items() if inspect.isclass(part) and issubclass(part, nn.Module)}
    return dict(sorted(found.items()))


def identify(state: StateDict) -> tuple[dict[str, Any], StateDict] | None:
    """The block `{type: Spandrel, ...}` of the network with these tensors, and the tensors under its names.

    None if spandrel is not installed or does not recognise the network, or if the network is one of ours.
    """
    try:
        package = _package()
    except Unavailable:
        return None
    state = package.canonicalize_state_dict(dict(state))
    for support in package.MAIN_REGISTRY.architectures('detection'):
        if support.detect(state):
            if support.architecture.id in OURS:
                return None
            break
    else:
        return None
    try:
        net = support.architecture.load(state).model
    except Exception as error:  # it guesses the arguments from the tensors; a wrong guess can raise anything
        logger.warning('spandrel detected %s but failed to load it: %s', support.architecture.name, error)
        return None
    name = next(name for name, cls in classes().items() if cls is type(net))
    parameters = inspect.signature(classes()[name]).parameters
    arguments = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in getattr(net, 'hyperparameters', {}).items()
        if key in parameters and value is not parameters[key].default and value != parameters[key].default
    }
    tensors = {key: t for key, t in net.state_dict().items() if key.rsplit('.', 1)[-1] not in COMPUTED}
    return {'type': 'Spandrel', 'arch': name, **arguments}, tensors
