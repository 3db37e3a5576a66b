"""Blur kernels of the real-world degradation: (size, size) float64 arrays that sum to 1; sides are odd.

Real-ESRGAN (Wang et al., ICCVW 2021), Sec. 3: blurs of both stages, and the sinc filter for ringing.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch

SMALLEST = 7
KINDS = ('iso', 'aniso', 'generalized_iso', 'generalized_aniso', 'plateau_iso', 'plateau_aniso')


def gaussian(size: int, sigma_x: float, sigma_y: float, theta: float = 0.0, beta: float = 1.0) -> np.ndarray:
    """exp(-d^beta / 2), d the squared Mahalanobis distance from the centre: Gaussian at beta 1, flatter above.

    Args:
        sigma_x, sigma_y: standard deviations in pixels, along columns and rows before the rotation.
        theta: rotation in radians, from columns towards rows.
        beta: shape; below 1 the peak is sharper and the tails are heavier.
    """
    return _normalised(np.exp(-0.5 * _distance(size, sigma_x, sigma_y, theta) ** beta))


def plateau(size: int, sigma_x: float, sigma_y: float, theta: float = 0.0, beta: float = 1.0) -> np.ndarray:
    """1 / (1 + d^beta), arguments as `gaussian`'s: a flat top with a steep edge where beta is large."""
    return _normalised(1 / (1 + _distance(size, sigma_x, sigma_y, theta) ** beta))


def sinc(size: int, cutoff: float) -> np.ndarray:
    """The ideal low-pass filter with a circular pass band, truncated to `size`: it rings and overshoots.

    Args:
        cutoff: radians per pixel, in (0, pi].
    """
    row, column = _grid(size)
    radius = np.hypot(row, column)
    radius[size // 2, size // 2] = 1  # avoids 0 / 0; the centre is set below
    bessel = torch.special.bessel_j1(torch.from_numpy(cutoff * radius)).numpy()
    kernel = cutoff * bessel / (2 * math.pi * radius)
    kernel[size // 2, size // 2] = cutoff**2 / (4 * math.pi)
    return _normalised(kernel)


def random_kernel(
    rng: np.random.Generator,
    size: int,
    kinds: Sequence[str],
    probabilities: Sequence[float],
    sinc_prob: float,
    sigma: Sequence[float],
    betag: Sequence[float],
    betap: Sequence[float],
) -> np.ndarray:
    """A kernel for one of the two blurs, zero-padded to `size`; its own side is odd, from 7 to `size`.

    Args:
        kinds, probabilities: kinds from KINDS and their relative probabilities.
        sinc_prob: probability of a sinc kernel instead.
        sigma: lowest and highest standard deviation, pixels.
        betag, betap: lowest and highest shape of the generalised Gaussian and the plateau kinds.
    """
    side = _random_side(rng, size)
    if rng.random() < sinc_prob:
        # small kernels cannot represent low cutoffs
        return _padded(sinc(side, rng.uniform(math.pi / (3 if side < 13 else 5), math.pi)), size)
    weights = np.asarray(probabilities, dtype=float)
    kind = kinds[rng.choice(len(kinds), p=weights / weights.sum())]
    sigma_x = sigma_y = uniform(rng, sigma)
    theta = 0.0
    if kind.endswith('aniso'):
        sigma_y, theta = uniform(rng, sigma), rng.uniform(-math.pi, math.pi)
    if kind.startswith('plateau'):
        return _padded(plateau(side, sigma_x, sigma_y, theta, _random_shape(rng, *betap)), size)
    beta = _random_shape(rng, *betag) if kind.startswith('generalized') else 1.0
    return _padded(gaussian(side, sigma_x, sigma_y, theta, beta), size)


def random_sinc(rng: np.random.Generator, size: int, probability: float) -> np.ndarray:
    """The last filter: with this probability a sinc of side 7 to `size`, else the identity; zero-padded to `size`."""
    if rng.random() >= probability:
        return _padded(np.ones((1, 1)), size)
    return _padded(sinc(_random_side(rng, size), rng.uniform(math.pi / 3, math.pi)), size)


def uniform(rng: np.random.Generator, limits: Sequence[float]) -> float:
    """A number in [low, high)."""
    low, high = limits
    return rng.uniform(low, high)


def _random_side(rng: np.random.Generator, largest: int) -> int:
    return int(rng.choice(np.arange(SMALLEST, largest + 1, 2)))


def _random_shape(rng: np.random.Generator, low: float, high: float) -> float:
    """As published, values below 1 (sharp peaks) and above 1 (flat tops) are equally likely, whatever the range."""
    if low <= 1 <= high:
        low, high = (low, 1) if rng.random() < 0.5 else (1, high)
    return rng.uniform(low, high)


def _grid(size: int) -> np.ndarray:
    return np.mgrid[:size, :size] - float(size // 2)


def _distance(size: int, sigma_x: float, sigma_y: float, theta: float) -> np.ndarray:
    row, column = _grid(size)
    along = (column * math.cos(theta) + row * math.sin(theta)) / sigma_x
    across = (row * math.cos(theta) - column * math.sin(theta)) / sigma_y
    return along**2 + across**2


def _normalised(kernel: np.ndarray) -> np.ndarray:
    return kernel / kernel.sum()


def _padded(kernel: np.ndarray, size: int) -> np.ndarray:
    return np.pad(kernel, (size - len(kernel)) // 2)
