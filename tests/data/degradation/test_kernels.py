import math

import cv2
import numpy as np
import pytest

from aesop.data.degradation import kernels
from aesop.data.degradation.kernels import KINDS, gaussian, plateau, random_kernel, random_sinc, sinc

PUBLISHED = {
    'size': 21,
    'kinds': KINDS,
    'probabilities': (0.45, 0.25, 0.12, 0.03, 0.12, 0.03),
    'sinc_prob': 0.1,
    'sigma': (0.2, 3),
    'betag': (0.5, 4),
    'betap': (1, 2),
}


def slow(size, sigma_x, sigma_y, theta, value):
    """Pixel by pixel: `value` of C^T Sigma^-1 C, Sigma = R diag(sigma_x^2, sigma_y^2) R^T, C = (x, y)."""
    rotation = np.array([[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]])
    precision = np.linalg.inv(rotation @ np.diag([sigma_x**2, sigma_y**2]) @ rotation.T)
    kernel = np.zeros((size, size))
    for row in range(size):
        for column in range(size):
            place = np.array([column - size // 2, row - size // 2])
            kernel[row, column] = value(place @ precision @ place)
    return kernel / kernel.sum()


@pytest.mark.parametrize('size, sigma', [(7, 0.2), (13, 1.7), (21, 3)])
def test_isotropic_gaussian_is_opencvs(size, sigma):
    line = cv2.getGaussianKernel(size, sigma)
    np.testing.assert_allclose(gaussian(size, sigma, sigma), line @ line.T, atol=1e-12)


@pytest.mark.parametrize('theta', [0, 0.4, -2.5])
@pytest.mark.parametrize('beta', [0.5, 1, 3.7])
def test_shapes_equal_the_formula(theta, beta):
    for make, value in ((gaussian, lambda d: math.exp(-0.5 * d**beta)), (plateau, lambda d: 1 / (1 + d**beta))):
        np.testing.assert_allclose(make(15, 2.1, 0.8, theta, beta), slow(15, 2.1, 0.8, theta, value), atol=1e-14)


def test_rotation_turns_columns_towards_rows():
    flat = gaussian(21, 3, 0.5)
    assert flat[10, 14] > 100 * flat[14, 10]
    np.testing.assert_allclose(gaussian(21, 3, 0.5, math.pi / 2), flat.T, atol=1e-12)
    diagonal = gaussian(21, 3, 0.5, math.pi / 4)
    assert diagonal[13, 13] > 100 * diagonal[13, 7]


@pytest.mark.parametrize('size, cutoff', [(7, 2.0), (21, math.pi / 3), (21, math.pi)])
def test_sinc_equals_the_formula(size, cutoff):
    turn = (np.arange(20000) + 0.5) * math.pi / 20000

    def bessel(x):  # Bessel's integral for J1
        return np.mean(np.cos(turn - x * np.sin(turn)))

    expected = np.zeros((size, size))
    for row in range(size):
        for column in range(size):
            r = math.hypot(row - size // 2, column - size // 2)
            expected[row, column] = cutoff * bessel(cutoff * r) / (2 * math.pi * r) if r else cutoff**2 / (4 * math.pi)
    np.testing.assert_allclose(sinc(size, cutoff), expected / expected.sum(), atol=2e-7)  # the precision of torch's J1


def test_sinc_passes_below_the_cutoff_and_stops_above():
    response = np.abs(np.fft.fft2(sinc(81, math.pi / 2), (256, 256)))
    assert abs(response[0, 20] - 1) < 0.05  # 0.16 pi
    assert response[0, 108] < 0.05 and response[100, 100] < 0.05  # 0.84 pi and beyond


@pytest.fixture
def drawn(monkeypatch):
    """(kind, arguments) of each kernel made."""
    calls = []
    for name in ('gaussian', 'plateau', 'sinc'):
        make = getattr(kernels, name)
        monkeypatch.setattr(kernels, name, lambda *a, name=name, make=make: calls.append((name, *a)) or make(*a))
    return calls


def test_random_kernels_are_normalised_padded_and_symmetric():
    rng = np.random.default_rng(0)
    for _ in range(300):
        kernel = random_kernel(rng, **PUBLISHED)
        assert kernel.shape == (21, 21)
        assert kernel.sum() == pytest.approx(1, abs=1e-12)
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)


def test_random_kernels_keep_the_published_ranges_and_shares(drawn):
    rng = np.random.default_rng(1)
    total = 6000
    for _ in range(total):
        random_kernel(rng, **PUBLISHED)
    sizes = [call[1] for call in drawn]
    assert set(sizes) == set(range(7, 22, 2))
    assert np.bincount(sizes)[7::2] == pytest.approx(total / 8, rel=0.15)

    shares = dict.fromkeys(('iso', 'aniso', 'generalized_iso', 'generalized_aniso', 'plateau_iso', 'plateau_aniso'), 0)
    betas = {'gaussian': [], 'plateau': []}
    cutoffs = {True: [], False: []}
    for name, size, *arguments in drawn:
        if name == 'sinc':
            cutoffs[size < 13].append(arguments[0])
            continue
        sigma_x, sigma_y, theta, beta = arguments
        assert min(sigma_x, sigma_y) >= 0.2 and max(sigma_x, sigma_y) <= 3 and abs(theta) <= math.pi
        shape = 'plateau_' if name == 'plateau' else '' if beta == 1 else 'generalized_'
        shares[shape + ('iso' if sigma_x == sigma_y and theta == 0 else 'aniso')] += 1
        if shape:
            betas[name].append(beta)
    sincs = len(cutoffs[True]) + len(cutoffs[False])
    assert sincs / total == pytest.approx(0.1, abs=0.015)
    for kind, expected in zip(KINDS, PUBLISHED['probabilities']):
        assert shares[kind] / (total - sincs) == pytest.approx(expected, abs=0.02), kind
    for low, values in ((math.pi / 3, cutoffs[True]), (math.pi / 5, cutoffs[False])):
        assert low <= min(values) < low + 0.1 and math.pi - 0.1 < max(values) <= math.pi
    general, flat = np.array(betas['gaussian']), np.array(betas['plateau'])
    assert 0.5 <= general.min() < 0.55 and 3.8 < general.max() <= 4
    assert np.mean(general < 1) == pytest.approx(0.5, abs=0.06)
    assert np.mean(flat == 1) == pytest.approx(0.5, abs=0.06) and 1.9 < flat.max() <= 2


def test_one_kind_alone(drawn):
    rng = np.random.default_rng(2)
    asked = {
        **PUBLISHED,
        'kinds': ['plateau_aniso'],
        'probabilities': [1],
        'sinc_prob': 0,
        'betap': (1.5, 2),
        'size': 9,
    }
    for _ in range(50):
        assert random_kernel(rng, **asked).shape == (9, 9)
    assert {call[0] for call in drawn} == {'plateau'} and {call[1] for call in drawn} == {7, 9}
    assert all(1.5 <= call[-1] <= 2 for call in drawn)


def test_the_last_filter_is_a_sinc_or_changes_nothing():
    rng = np.random.default_rng(3)
    made = [random_sinc(rng, 21, 0.8) for _ in range(1000)]
    assert all(kernel.shape == (21, 21) and abs(kernel.sum() - 1) < 1e-12 for kernel in made)
    identity = np.zeros((21, 21))
    identity[10, 10] = 1
    assert np.mean([np.array_equal(kernel, identity) for kernel in made]) == pytest.approx(0.2, abs=0.04)
    assert any(kernel.min() < -0.005 for kernel in made)
