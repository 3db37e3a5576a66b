"""Detects networks that are too large for this machine while they are built on the `meta` device."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from aesop.errors import UserError

MAX_TENSORS = 10_000  # per network; the largest published ones have a few thousand
TRAINED = 4  # a weight, its gradient, and Adam's two moments
GB = 1e9
# Where Linux says what a container may have, in either version of control groups.
CONTAINER = ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes')


def memory() -> int | None:
    """Bytes of memory that this process may have, or of the largest GPU where that is more; None where nobody tells."""
    try:
        most = [os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')]
    except (AttributeError, ValueError, OSError):  # no Unix
        return None
    for file in CONTAINER:
        with suppress(OSError, ValueError):  # the file is missing or says `max`
            most.append(int(Path(file).read_text()))
    return max([min(most), *(gpu_memory(number) for number in range(torch.cuda.device_count()))])


def gpu_memory(number: int) -> int:
    return torch.cuda.get_device_properties(number).total_memory


def check_step(weights: int, kept: int, batch: int, on_gpu: bool) -> None:
    """Whether a training step can fit into the memory of the device.

    Args:
        weights: bytes of weights with what training keeps beside them.
        kept: bytes that the backward pass needs, of `batch` samples.

    Raises:
        UserError: it cannot.
    """
    most = gpu_memory(torch.cuda.current_device()) if on_gpu else memory()
    if most is not None and weights + kept > most:
        where = 'the GPU' if on_gpu else 'this machine'
        raise UserError(
            f'a step takes at least {(weights + kept) / GB:.3g} GB: {weights / GB:.3g} for weights, gradients and '
            f'optimiser, {kept / GB:.3g} for the backward pass of {batch} samples; {where} has {most / GB:.3g} GB. '
            'Lower the batch or the patch, or see docs/speed.md for runtime.precision and use_checkpoint; '
            '`aesop benchmark batch-size` finds the largest batch'
        )


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
