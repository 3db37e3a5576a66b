import numpy as np
import pytest
import torch

from aesop.data.degradation.noise import gaussian_noise, poisson_noise

GRAY = torch.tensor([False, True])


def generator():
    return torch.Generator().manual_seed(3)


def residual(noisy, images):
    return (noisy - images).permute(0, 2, 3, 1).reshape(len(images), -1, 3).numpy()


def test_gaussian_noise_has_its_images_sigma_and_colour():
    images = torch.full((2, 3, 200, 200), 0.5)
    noisy = gaussian_noise(images, torch.tensor([5.0, 25.0]), GRAY, generator())
    colour, gray = residual(noisy, images) * 255
    assert colour.std(axis=0) == pytest.approx(5, rel=0.02) and gray.std(axis=0) == pytest.approx(25, rel=0.02)
    assert np.abs(colour.mean(axis=0)).max() < 0.1 and np.abs(gray.mean(axis=0)).max() < 0.5
    assert np.abs(np.corrcoef(colour.T)[0, 1:]).max() < 0.03
    np.testing.assert_allclose(gray[:, :1].repeat(3, axis=1), gray, atol=2e-5)


def slow_poisson(image, scale, gray, rng):
    """One image (H, W, 3) in 8-bit steps, as the definition says."""
    source = (image @ [0.299, 0.587, 0.114])[..., None] if gray else image
    source = np.round(np.clip(source, 0, 1) * 255) / 255
    photons = 2 ** np.ceil(np.log2(len(np.unique(source))))
    noise = rng.poisson(source * photons) / photons - source
    return np.clip(image + scale * noise, 0, 1)


@pytest.mark.parametrize('gray', [False, True])
@pytest.mark.parametrize('values', [5, 100])
def test_poisson_noise_has_the_moments_of_the_slow_one(gray, values):
    levels = np.linspace(60, 160, values).round() / 255
    image = levels[np.arange(240 * 240) % values].reshape(240, 240, 1) * np.array([1, 0.9, 0.8])
    image = np.round(image * 255) / 255
    tensor = torch.from_numpy(image.transpose(2, 0, 1)[None]).float()
    noisy = poisson_noise(tensor, torch.tensor([0.2]), torch.tensor([gray]), generator())
    (made,) = residual(noisy, tensor)
    slow = (slow_poisson(image, 0.2, gray, np.random.default_rng(4)) - image).reshape(-1, 3)
    for level in range(0, values, 4):
        here, there = made[level::values], slow[level::values]
        np.testing.assert_allclose(here.std(axis=0), there.std(axis=0), rtol=0.25 if values == 100 else 0.06)
    assert made.std() == pytest.approx(slow.std(), rel=0.02)
    assert abs(made.mean() - slow.mean()) < 0.003
    assert np.allclose(made[:, :1], made, atol=1e-6) == gray


def test_noise_keeps_to_the_range_and_its_generator():
    images = torch.rand(2, 3, 40, 40)
    strength = torch.tensor([30.0, 3.0])
    for add in (gaussian_noise, poisson_noise):
        noisy = add(images, strength, GRAY, generator())
        assert noisy.min() == 0 and noisy.max() == 1
        assert torch.equal(noisy, add(images, strength, GRAY, generator()))
        assert not torch.equal(noisy, add(images, strength, GRAY, torch.Generator().manual_seed(4)))
