from pathlib import Path

import numpy as np
import pytest
import torch

from aesop.benchmarks.data import plain_imresize
from aesop.data import imresize as reexported
from aesop.utils.images import list_images, read_image
from aesop.utils.imresize import imresize
from tests.golden import image

PHOTOGRAPHS = Path(__file__).parents[1] / '../shared/data'
REFERENCE = np.load(Path(__file__).parents[1] / 'data/imresize.npz')
ROWS = {'x0_25': 0.25, 'x0_5': 0.5, 'x1_3': 1 / 3, 'x2': 2, 'x4': 4, 'x0_25_noaa': 0.25}


@pytest.mark.parametrize('row', ROWS)
def test_reference(row):
    hwc = image(1, 3, 37, 50)[0].permute(1, 2, 0).numpy()
    out = imresize(hwc, ROWS[row], antialiasing='noaa' not in row)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, REFERENCE[row], rtol=0, atol=1e-6)


def test_tensors_and_arrays_agree():
    batch = image(2, 3, 37, 50)
    out = imresize(batch, 0.25)
    assert out.shape == (2, 3, 10, 13)
    for one, small in zip(batch, out):
        np.testing.assert_array_equal(imresize(one.permute(1, 2, 0).numpy(), 0.25), small.permute(1, 2, 0).numpy())
    grey = batch[0, 0].numpy()
    np.testing.assert_array_equal(imresize(grey, 0.25), out[0, 0].numpy())
    assert reexported is imresize


def test_long_sides_have_no_seams():
    """Long sides are computed in blocks: every part is what a short image around it gives."""
    wide = np.random.default_rng(0).random((8, 1200, 3))
    whole = imresize(wide, 0.25)
    for start in range(0, 1200 - 80, 40):
        part = imresize(wide[:, start : start + 80], 0.25)
        np.testing.assert_allclose(part[:, 2:-2], whole[:, start // 4 + 2 : start // 4 + 18], atol=1e-14)


@pytest.mark.parametrize('scale', [0.25, 0.5, 1 / 3, 2, 3])
def test_constants_and_ramps(scale):
    assert np.allclose(imresize(np.full((40, 52), 0.7), scale), 0.7, atol=1e-14)
    x = np.arange(60.0)
    out = imresize(np.tile(x, (60, 1)), scale)[0]
    centre = (np.arange(len(out)) + 0.5) / scale - 0.5
    inner = slice(4 * max(1, round(scale)), -4 * max(1, round(scale)))
    np.testing.assert_allclose(out[inner], centre[inner], atol=1e-12)  # cubic interpolation keeps straight lines


def test_integers_are_rounded_after_each_pass():
    noise = np.random.default_rng(0).integers(0, 256, (24, 32), dtype=np.uint8)

    def shrink_height(array):
        """A column at a time, as an image of equal columns: only the pass over the height does anything."""
        exact = [imresize(np.tile(column[:, None], 4).astype(float), 0.25)[:, 0] for column in array.T]
        return np.clip(np.floor(np.stack(exact, 1) + 0.5), 0, 255).astype(np.uint8)

    out = imresize(noise, 0.25)
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out, shrink_height(shrink_height(noise).T).T)
    assert (out != np.floor(imresize(noise.astype(float), 0.25) + 0.5)).any()  # rounding once would differ


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason='no ../shared/data')
@pytest.mark.parametrize('name', ['Set5', 'Set14'])
def test_files_of_the_benchmark_sets_are_met_exactly(name):
    """Up to two pixels at the border: those files are from a MATLAB of old, which repeated the edge pixel there."""
    for path in list_images(PHOTOGRAPHS / name / 'HR'):
        made, file = imresize(read_image(path), 0.25), read_image(PHOTOGRAPHS / name / 'LRx4' / path.name)
        np.testing.assert_array_equal(made[2:-2, 2:-2], file[2:-2, 2:-2])


def test_integers_are_rounded_half_up_and_clamped():
    stripes = np.tile(np.array([0, 1], np.uint8), (8, 8))  # every mean is exactly a half
    assert (imresize(stripes, 0.5)[:, 2:-2] == 1).all()
    step = np.where(np.arange(32) < 16, 0, 255).astype(np.uint8)[None].repeat(8, 0)
    assert imresize(step.astype(np.float64), 2).max() > 256  # the kernel overshoots at an edge,
    assert imresize(step, 2)[0, 36:40].tolist() == [255] * 4  # and 8 bits hold no more than 255
    assert imresize(np.full((4, 4), 60000, np.uint16), 0.5).tolist() == [[60000, 60000], [60000, 60000]]


@pytest.mark.parametrize(
    'size, scale, out', [(37, 0.25, 10), (39, 1 / 3, 13), (6, 1 / 6, 1), (5, 2, 10), (3, 0.25, 1), (49, 1 / 49, 1)]
)
def test_output_size_is_the_ceiling(size, scale, out):
    assert imresize(np.zeros((size, size)), scale).shape == (out, out)


def test_scale_one_changes_nothing():
    array = np.random.default_rng(0).random((9, 7, 3), dtype=np.float32)
    np.testing.assert_array_equal(imresize(array, 1), array)


def test_images_smaller_than_the_kernel_are_mirrored_repeatedly():
    line = np.array([[1.0, 2.0, 4.0]]).repeat(3, 0)
    tiled = np.array([1, 2, 4, 4, 2, 1] * 9, dtype=float)[None].repeat(54, 0)  # the symmetric extension, spelled out
    start = 24  # a period start in the middle; with scale 1/8 one output pixel covers pixels 24 to 31
    assert np.allclose(imresize(line, 1 / 8)[0, 0], imresize(tiled, 1 / 8)[3, start // 8])


def test_gradient():
    x = torch.rand(2, 1, 9, 7, dtype=torch.double, requires_grad=True)
    for scale in (0.5, 2):
        assert torch.autograd.gradcheck(lambda t, s=scale: imresize(t, s), x)


def test_gradient_after_a_call_in_inference_mode():
    x = torch.rand(1, 1, 47, 43, requires_grad=True)
    with torch.inference_mode():
        imresize(x, 0.5)
    imresize(x, 0.5).sum().backward()
    assert x.grad.sum().item() == pytest.approx(24 * 22, rel=1e-5)


def test_autocast_does_not_reach_it():
    x = image(1, 3, 64, 64)
    with torch.autocast('cpu', torch.bfloat16):
        inside = imresize(x, 0.25)
    assert torch.equal(inside, imresize(x, 0.25)) and inside.dtype == torch.float32


@pytest.mark.parametrize('scale', [1 / 2, 1 / 3, 1 / 4, 1 / 8, 0.3, 2, 3])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_it_is_the_plain_form_to_the_bit(scale, dtype):
    noise = np.random.default_rng(0).integers(0, 256, (61, 90, 3))
    array = (noise / 255).astype(dtype) if dtype is np.float32 else (noise * (np.iinfo(dtype).max // 255)).astype(dtype)
    plain, fast = plain_imresize(array, scale), imresize(array, scale)
    assert plain.dtype == fast.dtype == dtype
    np.testing.assert_allclose(fast, plain, rtol=0, atol=1e-7 if dtype is np.float32 else 0)
    batch = torch.from_numpy(np.stack([array, array[::-1]]).astype(np.float64)).permute(0, 3, 1, 2)
    one, other = imresize(batch, scale).permute(0, 2, 3, 1).numpy()
    exact = [plain_imresize(image.astype(np.float64), scale) for image in (array, array[::-1])]
    np.testing.assert_allclose(one, exact[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(other, exact[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('scale', [2, 3, 4, 6, 8])
def test_a_part_of_an_integer_image_gives_a_part_of_the_result(scale):
    """Also where a sum is a half, and the order of adding would decide how it is rounded."""
    image = np.random.default_rng(0).integers(0, 256, (40 * scale, 60 * scale, 3), dtype=np.uint8)
    whole = imresize(image, 1 / scale)
    for top, left in ((0, 7), (5, 0), (13, 21)):
        part = imresize(image[top * scale :, left * scale :], 1 / scale)
        np.testing.assert_array_equal(part[2:, 2:], whole[top + 2 :, left + 2 :])
