"""Deterministic weights and images: what the reference numbers in tests/data and ../shared/golden were measured on."""

import zlib
from pathlib import Path

import numpy as np
import torch
from skimage import data
from torch import Tensor, nn

GOLDEN = Path(__file__).parents[1] / '../shared/golden'
DATA = Path(__file__).parent / 'data'
NOT_FILLED = {'running_mean', 'running_var', 'attn_mask', 'mean', 'std'}


@torch.no_grad()
def fill_(net: nn.Module) -> nn.Module:
    """Fills `net` in place with weights that depend only on the names of its tensors; returns it in eval mode."""
    for name, tensor in net.state_dict().items():
        last = name.rsplit('.', 1)[-1]
        if not tensor.is_floating_point() or last in NOT_FILLED:
            continue
        values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tensor.numel())
        if last in ('weight_u', 'weight_v'):
            values /= np.linalg.norm(values)
        elif tensor.ndim > 1:
            values *= np.sqrt(2 / np.prod(tensor.shape[1:]))
        elif last == 'weight':
            values = 1 + 0.1 * values
        else:
            values *= 0.01
        tensor.copy_(torch.from_numpy(values.reshape(tensor.shape)))
    return net.eval()


def image(n: int, c: int, h: int, w: int, phase: float = 0.0) -> Tensor:
    """A deterministic (n, c, h, w) float32 image in [0, 1]: waves with fine texture."""
    i = np.arange(n * c * h * w).reshape(n, c, h, w).astype(np.float64)
    y, x = np.mgrid[0:h, 0:w]
    v = 0.5 + 0.25 * np.sin(0.21 * x + phase) * np.cos(0.17 * y) + 0.2 * np.sin(12.9898 * i + phase)
    return torch.from_numpy(np.clip(v, 0, 1).astype(np.float32))


def photograph(n: int, side: int) -> Tensor:
    """(n, 3, side, side) float32 in [0, 1]: crops of scikit-image's astronaut along the diagonal."""
    whole = torch.from_numpy(data.astronaut()).permute(2, 0, 1) / 255
    return torch.stack([whole[:, c : c + side, c : c + side] for c in range(100, 100 + 40 * n, 40)])
