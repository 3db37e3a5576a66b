"""Files of every kind, good and bad, through every way to read them."""

import numpy as np
import pytest
import torch

from aesop.data import build_dataset
from aesop.errors import UserError
from aesop.utils.images import read_image, save_image, to_tensor

WAYS = [('disk', 'none'), ('disk', 'ram'), ('disk', 'disk'), ('lmdb', 'none'), ('lmdb', 'ram'), ('lmdb', 'disk')]


@pytest.fixture(params=WAYS, ids='-'.join)
def dataset(request, tmp_path, as_lmdb):
    """Makes a data set of the images in tmp_path/hr, read in one of the ways."""
    backend, cache = request.param

    def make(kind='BicubicImageDataset', **more):
        root = as_lmdb(tmp_path / 'hr') if backend == 'lmdb' else tmp_path / 'hr'
        key = 'dataroot_lq' if kind == 'SingleImageDataset' else 'dataroot_gt'
        block = {'type': kind, key: str(root), 'io_backend': {'type': backend}, **more}
        return build_dataset({**block, 'cache': cache, 'cache_dir': str(tmp_path / 'cache')}, scale=4)

    return make


@pytest.fixture
def good(tmp_path):
    """Images that are fine, whatever they are called."""
    rng = np.random.default_rng(0)
    names = ['a', 'ü 雪 🏔', 'two words, and more', 'long' * 60, 'x.y.z']
    for name in names:
        save_image(tmp_path / f'hr/{name}.png', rng.integers(0, 256, (20, 24, 3), dtype=np.uint8))
    return sorted(names)


def test_names_of_every_kind(tmp_path, good, dataset):
    images = dataset('SingleImageDataset')
    assert images.check() == [] and sorted(images.names) == good
    for n, name in enumerate(images.names):
        assert torch.equal(images[n]['lq'], to_tensor(read_image(tmp_path / f'hr/{name}.png')))


def test_one_pixel(tmp_path, dataset):
    save_image(tmp_path / 'hr/pixel.png', np.full((1, 1, 3), 51, np.uint8))
    assert dataset('SingleImageDataset')[0]['lq'].tolist() == [[[np.float32(0.2)]]] * 3
    real = dataset('RealESRGANDataset', gt_size=8, crop_size=8)
    assert real.check() == [] and torch.equal(real[0]['gt'], torch.full((3, 8, 8), 51 / 255))
    (problem,) = dataset(gt_size=8).check()
    assert (
        'pixel.png: 1x1 pixels (height x width) is smaller than the gt_size of 8; remove it or lower gt_size' in problem
    )
    with pytest.raises(UserError, match='pixel.png: 1x1 pixels'):
        dataset(gt_size=8)[0]
    save_image(tmp_path / 'hr/pixel.png', np.full((4, 4, 3), 51, np.uint8))
    assert dataset(gt_size=4)[0]['lq'].tolist() == [[[np.float32(0.2)]]] * 3  # one pixel of low resolution is enough


@pytest.mark.parametrize(
    'content, sentence',
    [
        (lambda png: b'', 'the file is empty'),
        (lambda png: b'hello', 'the file is not an 8- or 16-bit image, or is damaged or truncated'),
        (lambda png: png[:40], 'the file is not an 8- or 16-bit image, or is damaged or truncated'),
        (lambda png: png[:-20], 'the file is not an 8- or 16-bit image, or is damaged or truncated'),
    ],
    ids=['empty', 'text', 'header alone', 'cut off'],
)
def test_bad_files_are_named_or_skipped(tmp_path, good, dataset, content, sentence):
    path = tmp_path / 'hr/a.png'
    path.write_bytes(content(path.read_bytes()))
    (problem,) = dataset(gt_size=8).check()
    assert '/a.png: ' in problem and 'replace the file or remove it from the data set' in problem
    with pytest.raises(UserError, match=f'/a.png: {sentence}'):
        [dataset(gt_size=8)[n] for n in range(5)]
    skipping = dataset(gt_size=8, on_error='skip')
    assert 'a' not in {skipping[n]['name'] for n in range(20)}
    assert len(skipping.skipped) == 1
