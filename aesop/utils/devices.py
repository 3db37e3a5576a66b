"""The device a process computes on, and its peak memory."""

import sys

import torch

from aesop.errors import UserError

RSS_UNIT = 1 if sys.platform == 'darwin' else 1024  # ru_maxrss is in KiB on Linux, in bytes on macOS


def best_device() -> str:
    """`cuda` with an NVIDIA or AMD GPU, `mps` on Apple silicon, else `cpu`."""
    if torch.cuda.is_available():
        return 'cuda'
    return 'mps' if torch.backends.mps.is_available() else 'cpu'


def find_device(name: str | None = None) -> torch.device:
    """The device of that name, e.g. `cuda:1`; by default the best one available.

    Raises:
        UserError: the device is not available.
    """
    try:
        device = torch.device(name or best_device())
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().split('\n')[0]
        raise UserError(f'device {name} is not available ({reason}); cpu always is') from error
    return device


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: allocated by PyTorch on a GPU, allocated by Apple's driver, or resident in the process;
    0 if the system does not report it."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    if device.type == 'mps':
        return torch.mps.driver_allocated_memory()
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT
