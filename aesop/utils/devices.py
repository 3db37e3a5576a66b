"""Which device a process computes on, and what it has used of the memory."""

import sys

import torch

from aesop.errors import UserError

RSS_UNIT = 1 if sys.platform == 'darwin' else 1024  # ru_maxrss is in KiB on Linux, in bytes on macOS


def best_device() -> str:
    """`cuda` where there is a GPU of NVIDIA or AMD, `mps` on a Mac with Apple's, else `cpu`."""
    if torch.cuda.is_available():
        return 'cuda'
    return 'mps' if torch.backends.mps.is_available() else 'cpu'


def find_device(name: str | None = None) -> torch.device:
    """The device of that name, e.g. `cuda:1`; by default the best one here.

    Raises:
        UserError: it is not here.
    """
    try:
        device = torch.device(name or best_device())
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().split('\n')[0]
        raise UserError(f'there is no device {name} here ({reason}); cpu is always there') from error
    return device


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that PyTorch has had allocated on a GPU, that Apple's driver has given, or that the process has
    had resident; 0 where the system does not tell."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    if device.type == 'mps':
        return torch.mps.driver_allocated_memory()
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT
