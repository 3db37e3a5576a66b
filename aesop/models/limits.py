"""Detects networks that are too large for this machine while they are built on the `meta` device."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from aesop.errors import UserError

MAX_TENSORS = 20_000  # per network; the largest published ones have a few thousand
TRAINED = 4  # a weight, its gradient, and Adam's two moments
GB = 1e9


def memory() -> int | None:
    """Bytes of the machine's memory, or of its largest GPU if that has more; None if unknown."""
    try:
        host = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    except (AttributeError, ValueError, OSError):  # not Unix
        return None
    gpus = range(torch.cuda.device_count())
    return max([host, *(torch.cuda.get_device_properties(number).total_memory for number in gpus)])


@contextmanager
def limit_weights(factor: int = 1) -> Iterator[None]:
    """Stops building a network as soon as its weights exceed the memory.

    Args:
        factor: copies of the weights that must fit, see TRAINED.

    Raises:
        UserError: the network is too large.
    """
    most, count, size = memory(), 0, 0

    def note(module: nn.Module, name: str, parameter: Tensor | None) -> None:
        nonlocal count, size
        count += 1
        size += 0 if parameter is None else factor * parameter.numel() * parameter.element_size()
        if most is not None and size > most:
            what = 'with gradients and optimiser ' if factor > 1 else ''
            raise UserError(
                f'its weights take {what}more than {size / GB:.3g} GB, but this machine has {most / GB:.3g} GB'
            )
        if count > MAX_TENSORS:
            raise UserError(f'it has more than {MAX_TENSORS:,} weight tensors; no network needs that many')

    handle = register_module_parameter_registration_hook(note)
    try:
        yield
    finally:
        handle.remove()
