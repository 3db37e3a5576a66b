"""Going on from a state that BasicSR saved: it holds iteration and optimisers, and the weights lie in a folder beside.

BasicSR numbers the tensors of an optimiser as its network registers them. The network's file has them in that order,
with names, so that is where the names come from.
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
    """Gives a model the weights and the optimisers of a run of BasicSR, and says in the log what it could not.

    Args:
        state: what the state file holds, and its name under 'file'.
        keep: networks that keep the weights they have, e.g. 'network_d'.

    Raises:
        UserError: the generator's weights are not there, or are of another network.
    """
    file, iteration = Path(state['file']), state['iter']
    taken, left = [], ['the random generators, which are seeded anew', 'the best metrics']
    for name, net in model._nets.items():
        which = name.removeprefix('net_').removesuffix('_ema')
        weights = file.parent.parent / 'models' / f'net_{which}_{iteration}.pth'
        if f'network_{which}' in keep:
            continue
        if not weights.is_file():
            if which == 'g':
                raise UserError(f'{weights} not found: a state of BasicSR holds no weights, copy them there')
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
            left.append(f'optim_{which}, which starts afresh ({error})')
    logger.info('%s is of BasicSR: taken over are %s; not %s', file, ', '.join(taken), '; '.join(left))


def _by_position(saved: dict[str, Any], found: dict[str, Tensor], net: nn.Module, kind: str) -> dict[int, Any]:
    """An optimiser's state by the positions of our parameters.

    Raises:
        ValueError: it is of another optimiser, or of other tensors.
    """
    ours = {name: (position, parameter) for position, (name, parameter) in enumerate(net.named_parameters())}
    names = {id(tensor): name for name, tensor in match_names(found, net).items()}
    order = [names[id(tensor)] for tensor in found.values() if names.get(id(tensor)) in ours]
    numbers = [number for group in saved['param_groups'] for number in group['params']]
    if len(numbers) != len(order):
        raise ValueError(f'it is of {len(numbers)} tensors, and the network has {len(order)}')
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
        return torch.as_tensor(float(value))  # the number of steps, which was an int once
    if value.numel() != parameter.numel():
        raise ValueError(f'{name} has another size')
    return value.reshape(parameter.shape)
