"""Optimisers of pytorch-optimizer (`pip install "aesop-sr[optimisers]"`), and support for schedule-free ones.

Schedule-free optimisers (Defazio et al., NeurIPS 2024) train one set of weights, but validate and publish an average:
`average_weights` switches to it and back.
"""

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from aesop.errors import Unavailable, UserError
from aesop.registry import OPTIMIZERS

NAMES = (
    'ADOPT', 'AdEMAMix', 'AdaBelief', 'AdaPNM', 'AdamP', 'Adan', 'CAME', 'DAdaptAdam', 'Kron', 'LaProp', 'Lamb', 'Lion',
    'MARS', 'Prodigy', 'Ranger21', 'SGDP', 'SOAP', 'ScheduleFreeAdamW', 'ScheduleFreeRAdam', 'ScheduleFreeSGD',
    'StableAdamW', 'Tiger',
)  # fmt: skip
SET_BY_RUN = ('params', 'lr', 'initial_lr')  # entries of a group set by the options and the schedule


def _register(name: str) -> None:
    def build(params: Iterable[nn.Parameter], lr: float, **arguments: Any) -> torch.optim.Optimizer:
        try:
            package = importlib.import_module('pytorch_optimizer')  # takes seconds, so only when needed
        except ImportError as error:
            raise Unavailable(f'{name} needs pytorch-optimizer: pip install "aesop-sr[optimisers]"') from error
        kind = getattr(package, name)
        try:
            return kind(params, lr=lr, **arguments)
        except TypeError as error:
            raise UserError(f'{name} does not accept its arguments: {error}') from error

    build.__name__ = name
    OPTIMIZERS.register()(build)


for _name in NAMES:
    _register(_name)


def group_state(optimiser: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """State that an optimiser keeps in its parameter groups, by group; empty for those of PyTorch."""
    defaults = optimiser.defaults
    return [
        {
            key: value
            for key, value in group.items()
            if key not in SET_BY_RUN and isinstance(value, bool | int | float) and value != defaults.get(key)
        }
        for group in optimiser.param_groups
    ]


def load_group_state(optimiser: torch.optim.Optimizer, groups: Sequence[Mapping[str, Any]]) -> None:
    """Restores a `group_state`."""
    for group, counted in zip(optimiser.param_groups, groups):
        group.update(counted)


@contextmanager
def average_weights(optimisers: Iterable[Any]) -> Iterator[None]:
    """Inside, networks trained by schedule-free optimisers have their averaged weights; others are unaffected."""
    switching: list[tuple[Callable[[], None], list[tuple[nn.Parameter, torch.Tensor]]]] = []
    for optimiser in optimisers:
        if callable(getattr(optimiser, 'train', None)) and callable(getattr(optimiser, 'eval', None)):
            parameters = [p for group in optimiser.param_groups for p in group['params'] if p in optimiser.state]
            if parameters:
                switching.append((optimiser.train, [(p, p.detach().clone()) for p in parameters]))
                optimiser.eval()
    try:
        yield
    finally:
        for back, kept in switching:
            back()
            with torch.no_grad():
                for parameter, value in kept:  # switching back is not exact
                    parameter.copy_(value)
