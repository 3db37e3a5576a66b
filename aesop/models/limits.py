"""Sizes that no machine has: found while networks are built without values, before they take memory or hours."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from aesop.errors import UserError

MOST_TENSORS = 20_000  # of a network: the largest published ones have a few thousand
TRAINED = 4  # a weight, its gradient, and Adam's two moments
GB = 1e9


def memory() -> int | None:
    """Bytes of the machine's memory, or of its largest GPU where that is more; None where nobody tells."""
    try:
        host = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    except (AttributeError, ValueError, OSError):  # no Unix
        return None
    gpus = range(torch.cuda.device_count())
    return max([host, *(torch.cuda.get_device_properties(number).total_memory for number in gpus)])


@contextmanager
def limited(factor: int = 1) -> Iterator[None]:
    """Ends the building of a network as soon as it has more than the memory can hold.

    Args:
        factor: how often its weights have to fit, see TRAINED.

    Raises:
        UserError: it is too large.
    """
    most, count, size = memory(), 0, 0

    def note(module: nn.Module, name: str, parameter: Tensor | None) -> None:
        nonlocal count, size
        count += 1
        size += 0 if parameter is None else factor * parameter.numel() * parameter.element_size()
        if most is not None and size > most:
            what = 'with gradients and optimiser ' if factor > 1 else ''
            raise UserError(
                f'its weights take {what}more than {size / GB:.3g} GB, and this machine has {most / GB:.3g} GB'
            )
        if count > MOST_TENSORS:
            raise UserError(f'it has more than {MOST_TENSORS:,} tensors of weights: no network needs so many')

    handle = register_module_parameter_registration_hook(note)
    try:
        yield
    finally:
        handle.remove()
