"""Resumes from a state saved by BasicSR, which has the iteration and optimisers; the weights are in a sibling folder.

BasicSR numbers an optimiser's tensors in the order in which the network registers them. The network's file has them in
the same order, with names.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aesop.errors import UserError
from aesop.models import SRModel
from aesop.models.gradient_step import load_state
from aesop.utils.checkpoint import load_params, match_names, read_weights

logger = logging.getLogger(__name__)


def take_over(state: dict[str, Any], model: SRModel, keep: Sequence[str] = ()) -> None:
    """Loads the weights and optimisers of a BasicSR run into a model, and logs what could not be restored.

    Args:
        state: content of the state file, with its path under 'file'.
        keep: networks that keep their current weights, e.g. 'network_d'.

    Raises:
        UserError: the generator's weights are missing, or those of a different network.
    """
    file, iteration = Path(state['file']), state['iter']
    taken, left = [], ['the random generators, which are reseeded', 'the best metrics']
    for name, net in model._nets.items():
        which = name.removeprefix('net_').removesuffix('_ema')
        weights = file.parent.parent / 'models' / f'net_{which}_{iteration}.pth'
        if f'network_{which}' in keep:
            continue
        if not weights.is_file():
            if which == 'g':
                raise UserError(f'{weights} not found: BasicSR states contain no weights, copy them there')
            left.append(f'{name} ({weights} not found)')
            continue
        found, _ = read_weights(weights, 'params_ema' if name.endswith('_ema') else 'params')
        load_params(net, found, weights)
        taken.append(name)
        optimiser = model._optimisers.get(f'optim_{which}')
        if name.endswith('_ema') or optimiser is None:
            continue
        try:
            saved = state['optimizers'][list(model._optimisers).index(f'optim_{which}')]
            load_state(optimiser, _by_position(saved, found, net, type(optimiser).__name__))
            taken.append(f'optim_{which}')
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            left.append(f'optim_{which}, which starts fresh ({error})')
    logger.info('%s was saved by BasicSR: restored %s; not restored: %s', file, ', '.join(taken), '; '.join(left))


def _by_position(saved: dict[str, Any], found: dict[str, Tensor], net: nn.Module, kind: str) -> dict[int, Any]:
    """An optimiser's state by the positions of our parameters.

    Raises:
        ValueError: it belongs to a different optimiser, or to different tensors.
    """
    ours = {name: (position, parameter) for position, (name, parameter) in enumerate(net.named_parameters())}
    names = {id(tensor): name for name, tensor in match_names(found, net).items()}
    order = [names[id(tensor)] for tensor in found.values() if names.get(id(tensor)) in ours]
    numbers = [number for group in saved['param_groups'] for number in group['params']]
    if len(numbers) != len(order):
        raise ValueError(f'it has {len(numbers)} tensors, but the network has {len(order)}')
    states = {}
    for name, number in zip(order, numbers):
        position, parameter = ours[name]
        values = saved['state'].get(number, {})
        if values and ('exp_avg' in values) != kind.startswith(('Adam', 'NAdam', 'RAdam')):
            raise ValueError(f'it is not of {kind}')
        states[position] = {key: _like(parameter, value, name) for key, value in values.items()}
    return states


def _like(parameter: Tensor, value: Any, name: str) -> Any:
    if not isinstance(value, Tensor) or value.ndim == 0:
        return torch.as_tensor(float(value))  # the number of steps, an int in old versions
    if value.numel() != parameter.numel():
        raise ValueError(f'{name} has another size')
    return value.reshape(parameter.shape)
