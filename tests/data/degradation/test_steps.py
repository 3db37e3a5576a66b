import cv2
import numpy as np
import pytest
from skimage import data

from aesop.data.degradation.steps import STEPS, build_steps, disc, line
from aesop.errors import UserError

PHOTOGRAPH = data.chelsea()[60:124, 120:185].astype(np.float32) / 255  # (64, 65, 3)


def psnr(a, b):
    return -10 * np.log10(np.square(a - b).mean())


@pytest.mark.parametrize(
    ('block', 'low', 'high'),
    [
        ({'type': 'blur'}, 15, 60),
        ({'type': 'blur', 'kinds': ['motion'], 'sigma': [2, 2]}, 15, 40),
        ({'type': 'blur', 'kinds': ['defocus'], 'sigma': [3, 3]}, 15, 40),
        ({'type': 'noise', 'kinds': ['gaussian'], 'sigma': [10, 10]}, 27, 30),
        ({'type': 'noise', 'kinds': ['speckle'], 'sigma': [10, 10]}, 25, 40),
        ({'type': 'noise', 'kinds': ['poisson'], 'scale': [1, 1]}, 25, 32),
        ({'type': 'jpeg', 'quality': [30, 30]}, 22, 38),
        ({'type': 'webp', 'quality': [30, 30]}, 22, 38),
        ({'type': 'video'}, 22, 40),
    ],
)
def test_each_degrades_and_is_a_function_of_its_generator(block, low, high):
    step = build_steps([block])
    done, again = (step(PHOTOGRAPH, np.random.default_rng(3)) for _ in range(2))
    assert done.shape == PHOTOGRAPH.shape and done.dtype == np.float32
    assert done.min() >= 0 and done.max() <= 1 and np.array_equal(done, again)
    assert low < psnr(done, PHOTOGRAPH) < high


def test_resize():
    for seed in range(10):
        height, width = build_steps([{'type': 'resize', 'factor': [0.5, 2]}])(
            PHOTOGRAPH, np.random.default_rng(seed)
        ).shape[:2]
        assert 32 <= height <= 128 and abs(width - height * 65 / 64) < 1.5


def test_kernels():
    flat = line(5, 0)
    assert flat.sum() == pytest.approx(1) and flat[3].sum() == pytest.approx(1)  # all in the middle row
    assert np.allclose(line(5, np.pi / 2), flat.T)
    assert disc(3.0).sum() == pytest.approx(1) and disc(3.0)[3, 3] == disc(3.0)[3, 5]
    assert cv2.filter2D(np.ones((9, 9)), -1, disc(2.2)).min() == pytest.approx(1)


def test_probabilities_and_orders():
    never = build_steps([{'type': 'jpeg', 'prob': 0}])
    assert never(PHOTOGRAPH, np.random.default_rng(0)) is PHOTOGRAPH
    half = build_steps([{'type': 'jpeg', 'prob': 0.5}])
    same = sum(half(PHOTOGRAPH, np.random.default_rng(seed)) is PHOTOGRAPH for seed in range(100))
    assert 30 < same < 70
    two = [{'type': 'jpeg', 'quality': [10, 10]}, {'type': 'blur', 'kinds': ['defocus'], 'sigma': [2, 2]}]
    shuffled = build_steps([{'type': 'shuffled', 'steps': two}])
    assert len({shuffled(PHOTOGRAPH, np.random.default_rng(seed)).tobytes() for seed in range(12)}) == 2
    one = build_steps([{'type': 'one_of', 'steps': two}])
    assert len({one(PHOTOGRAPH, np.random.default_rng(seed)).tobytes() for seed in range(12)}) == 2


@pytest.mark.parametrize(
    ('block', 'message'),
    [
        ({'type': 'jpg'}, 'unknown step "jpg". Did you mean "jpeg"'),
        ({'type': 'jpeg', 'qualities': 3}, 'jpeg has no argument "qualities". Did you mean "quality"'),
        ({'type': 'jpeg', 'prob': 2}, 'prob of jpeg is 2'),
        ('jpeg', 'unknown step "jpeg"'),
    ],
)
def test_mistakes_are_told(block, message):
    with pytest.raises(UserError) as error:
        build_steps([block])
    assert message in str(error.value)


def test_codecs_that_are_not_there():
    with pytest.raises(UserError, match='unknown codec "h267"'):
        STEPS['video'](PHOTOGRAPH, np.random.default_rng(0), codecs=['h267'])
