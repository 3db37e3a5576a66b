import logging

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional

from aesop.data import build_dataset, train_loader, val_loader
from aesop.errors import UserError
from aesop.registry import DATASETS
from aesop.utils.images import read_image, save_image, to_tensor, to_uint8


@pytest.fixture
def references(tmp_path):
    """Seven images of one colour each, of several sizes, so that what is seen of them tells which it is."""
    for number in range(7):
        save_image(tmp_path / f'refs/{number}/a.png', np.full((20 + number, 50, 3), 10 * number, np.uint8))
    return tmp_path / 'refs'


def dataset(folders, seed=5, **more):
    block = {'type': 'BicubicImageDataset', 'dataroot_gt': str(folders / 'hr'), 'gt_size': 16, 'ref_size': 32}
    return build_dataset({**block, **more}, scale=4, seed=seed)


def with_folder(folders, references, **more):
    return dataset(folders, ref='folder', dataroot_ref=str(references), **more)


def number(ref):
    assert ref.shape == (3, 32, 32) and ref.min() == ref.max()
    return round(255 * ref[0, 0, 0].item()) // 10


def test_the_reference_of_a_sample_depends_on_seed_and_position_alone(folders, references):
    first, again = with_folder(folders, references), with_folder(folders, references)
    seen = [number(first[n]['ref']) for n in range(60)]
    assert [number(again[n]['ref']) for n in reversed(range(60))] == seen[::-1]
    assert set(seen) == set(range(7))
    other = with_folder(folders, references, seed=6)
    assert sum(number(other[n]['ref']) != seen[n] for n in range(60)) > 30
    plain = dataset(folders)
    assert all(torch.equal(plain[n]['gt'], first[n]['gt']) for n in range(20))  # crops are those without references
    assert 'ref' not in plain[0]


@pytest.mark.parametrize('gt_size', [16, None])
def test_solutions_take_all_references_before_one_comes_again(folders, references, gt_size):
    data = with_folder(folders, references, gt_size=gt_size)
    for n in range(5):
        solutions = [number(data.solution(n, k)['ref']) for k in range(7)]
        assert sorted(solutions) == list(range(7))
        assert solutions[0] == number(data[n]['ref'])
        assert number(data.solution(n, 7)['ref']) == solutions[0]
    assert len({number(data.solution(n, 0)['ref']) for n in range(5)}) > 1


def test_a_photograph_is_resized_as_torchvision_does(folders, tmp_path):
    rng = np.random.default_rng(0)
    photo = cv2.GaussianBlur(rng.integers(0, 256, (90, 130, 3), dtype=np.uint8), (0, 0), 2)
    save_image(tmp_path / 'one/photo.png', photo)
    got = to_uint8(with_folder(folders, tmp_path / 'one')[0]['ref'])
    assert np.array_equal(got, np.asarray(functional.resize(Image.fromarray(photo), [32, 32])))


def test_grey_and_16_bits(folders, tmp_path):
    deep = np.linspace(0, 65535, 40 * 40).reshape(40, 40).astype(np.uint16)
    (tmp_path / 'grey').mkdir()
    (tmp_path / 'deep').mkdir()
    cv2.imwrite(str(tmp_path / 'grey/a.png'), (deep // 257).astype(np.uint8))
    cv2.imwrite(str(tmp_path / 'deep/a.png'), np.dstack([deep] * 3))
    grey, deep = (with_folder(folders, tmp_path / name)[0]['ref'] for name in ('grey', 'deep'))
    assert grey.shape == (3, 32, 32) and torch.equal(grey[0], grey[2])
    assert (grey - deep).abs().max() <= 1.01 / 255


def test_unusual_files(folders, tmp_path):
    """A single pixel, sides below the network's grid, an alpha channel, a palette, one bit, CMYK."""
    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8))
    images = {'pixel.png': rgb.resize((1, 1)), 'narrow.png': rgb.resize((3, 90)), 'alpha.png': rgb.convert('RGBA')}
    images |= {'palette.png': rgb.convert('P'), 'bit.png': rgb.convert('1'), 'cmyk.jpg': rgb.convert('CMYK')}
    for name, image in images.items():
        (tmp_path / name).mkdir()
        image.save(tmp_path / name / name)
        data = with_folder(folders, tmp_path / name)
        assert data.check() == []
        assert data[0]['ref'].shape == (3, 32, 32)


def test_of_the_sample_itself(folders):
    for size in (16, None):
        sample = dataset(folders, ref='gt', ref_size=16, gt_size=size)[1]
        assert sample['ref'].shape == (3, 16, 16)
        if size:
            assert torch.equal(sample['ref'], sample['gt'])
    data = dataset(folders, ref='lq')
    sample = data[3]
    lq = Image.fromarray(to_uint8(sample['lq']))
    assert np.array_equal(to_uint8(sample['ref']), np.asarray(lq.resize((32, 32))))  # Pillow's default: bicubic
    assert data.solution(3, 2) == {}


def test_noise(folders):
    data = dataset(folders, ref='noise')
    ref = data[0]['ref']
    assert (
        ref.shape == (3, 32, 32)
        and ref.max() == pytest.approx(127 / 255)
        and ref.mean() == pytest.approx(0.25, abs=0.01)
    )
    assert torch.equal(ref, data.solution(0, 0)['ref'])
    assert not torch.equal(ref, data.solution(0, 1)['ref']) and not torch.equal(ref, data[1]['ref'])


def test_pairs_of_files(folders, references):
    block = {'type': 'PairedImageDataset', 'dataroot_gt': str(folders / 'hr'), 'dataroot_lq': str(folders / 'lr')}
    data = build_dataset({**block, 'ref': 'folder', 'dataroot_ref': str(references), 'ref_size': 32}, scale=4, seed=5)
    assert number(data[2]['ref']) == number(with_folder(folders, references, gt_size=None)[2]['ref'])


@pytest.mark.parametrize('workers', [0, 1])
def test_loaders_hand_references_over_as_bytes_and_finish_them(folders, references, workers):
    data = with_folder(folders, references, mean=[0.5, 0.5, 0.5])
    assert data.raw(0)['ref'].dtype == np.uint8
    batch = next(iter(train_loader(data, 3, workers, total_iter=1)))
    assert torch.equal(batch['ref'], torch.stack([data[n]['ref'] for n in range(3)]))
    assert batch['ref'].min() < 0
    whole = with_folder(folders, references, gt_size=None)
    assert torch.equal(next(iter(val_loader(whole)))['ref'][0], whole[0]['ref'])


def test_broken_references_are_told_before_the_run(folders, references):
    (references / '3/a.png').write_bytes((references / '3/a.png').read_bytes()[:40])
    (references / '5/a.png').write_bytes(b'')
    data = with_folder(folders, references)
    problems = data.check()
    assert len(problems) == 2 and str(references / '3/a.png') in problems[0] and '5/a.png' in problems[1]
    with pytest.raises(UserError, match='a.png: the file is empty|damaged or truncated'):
        [data[n] for n in range(60)]


def test_skip_takes_the_next_reference(folders, references, caplog):
    (references / '3/a.png').write_bytes(b'')
    data = with_folder(folders, references, on_error='skip')
    with caplog.at_level(logging.WARNING):
        seen = {number(data[n]['ref']) for n in range(60)}
    assert seen == {0, 1, 2, 4, 5, 6}
    assert '3/a.png: the file is empty' in caplog.text


def test_mistakes(folders, references, tmp_path):
    with pytest.raises(UserError, match='nowhere: folder not found'):
        with_folder(folders, tmp_path / 'nowhere')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='contains no images'):
        with_folder(folders, tmp_path / 'empty')
    with pytest.raises(UserError, match='`ref: folder` needs dataroot_ref'):
        dataset(folders, ref='folder')
    with pytest.raises(UserError, match='dataroot_ref is not used with ref gt'):
        dataset(folders, ref='gt', dataroot_ref=str(references))
    with pytest.raises(UserError, match="ref is 'hr'; set it to folder or gt or lq or noise"):
        dataset(folders, ref='hr')


def test_lmdb(folders, references, as_lmdb):
    data = with_folder(folders, as_lmdb(references))
    assert [number(data[n]['ref']) for n in range(20)] == [
        number(with_folder(folders, references)[n]['ref']) for n in range(20)
    ]


def test_the_protocol_says_how_references_are_chosen():
    protocol = DATASETS.get('BicubicImageDataset').protocol
    assert protocol({}) == {}
    folder = protocol({'ref': 'folder', 'dataroot_ref': 'refs', 'ref_size': 64})
    assert folder == {'references': 'random images of refs, resized to 64x64 (bilinear, antialiased)'}
    assert protocol({'ref': 'noise'}) == {'references': 'uniform noise in [0, 128) of 255, 256x256'}


def test_the_decode_cache_is_of_the_pairs_alone(folders, references, tmp_path):
    data = with_folder(folders, references, cache='disk', cache_dir=str(tmp_path / 'cache'))
    data.open()
    assert sorted(data._decoded) == sorted(folders.glob('hr/*.png'))
    assert torch.equal(data[0]['gt'], with_folder(folders, references)[0]['gt'])
    assert torch.equal(
        to_tensor(read_image(folders / 'hr/0.png')), with_folder(folders, references, gt_size=None)[0]['gt']
    )
