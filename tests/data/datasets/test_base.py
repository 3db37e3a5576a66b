import pickle

import numpy as np
import pytest
import torch

from aesop.data import LOADER_KEYS, build_dataset
from aesop.errors import UserError
from aesop.utils.images import read_image, save_image, to_tensor, to_y


def crops(folders, seed=5, **more):
    block = {'type': 'BicubicImageDataset', 'dataroot_gt': str(folders / 'hr'), 'gt_size': 16}
    return build_dataset({**block, **more}, scale=4, seed=seed)


def test_normalisation_and_luma(folders):
    plain = crops(folders)[3]
    shifted = crops(folders, mean=[0.1, 0.2, 0.3], std=[0.5, 0.5, 0.25])[3]
    expected = (plain['gt'] - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.5, 0.5, 0.25]).view(
        3, 1, 1
    )
    assert torch.allclose(shifted['gt'], expected)
    luma = crops(folders, color='y')[3]
    assert torch.equal(luma['lq'], to_y(plain['lq'])) and luma['gt'].shape == (1, 16, 16)


def test_check_names_every_problem(folders):
    assert crops(folders).check() == []
    (folders / 'hr/0.png').write_text('hello')
    (folders / 'hr/1.png').write_bytes(b'')
    save_image(folders / 'hr/sub/x.png', np.zeros((8, 90, 3), np.uint8))
    save_image(folders / 'hr/sub/x.jpg', np.zeros((90, 90, 3), np.uint8))
    dataset = crops(folders)
    (folders / 'hr/3.png').unlink()
    unreadable, empty, gone, small, twice = dataset.check()
    assert '0.png: this cannot be read as an image' in unreadable and '1.png' in empty
    assert '3.png: file not found' in gone
    assert 'sub/x.png: 8x90' in small and '2 images are named sub/x' in twice
    for number in range(30):
        save_image(folders / f'hr/tiny{number}.png', np.zeros((8, 8, 3), np.uint8))
    assert len(crops(folders).check()) == 34  # all of them


@pytest.mark.parametrize(
    'wrong, sentence',
    [
        ({'io_backend': {'type': 'petrel'}}, 'io_backend `type: petrel` is not known; use disk or lmdb'),
        ({'color': 'gray'}, "color is 'gray'; set it to rgb or y"),
        ({'cache': 'memory'}, "cache is 'memory'; set it to none or ram or disk"),
        ({'on_error': 'ignore'}, "on_error is 'ignore'; set it to raise or skip"),
        ({'max_skipped': 5}, 'max_skipped is 5; set it to a fraction between 0 and 1'),
        ({'gt_size': 18}, 'gt_size 18 is not a multiple of scale 4'),
        ({'gt_size': 0}, 'gt_size 0 is not a multiple of scale 4'),
        ({'use_hflp': True}, 'Did you mean "use_hflip"'),
        ({'type': 'PairedImageDatset'}, 'Did you mean "PairedImageDataset"'),
    ],
)
def test_mistakes(folders, wrong, sentence):
    with pytest.raises(UserError, match=sentence):
        crops(folders, **wrong)


def test_a_block_with_loader_keys_is_built_and_left_unchanged(folders):
    block = {
        'name': 'Five',
        'type': 'BicubicImageDataset',
        'dataroot_gt': str(folders / 'hr'),
        'io_backend': {'type': 'disk'},
        **dict.fromkeys(LOADER_KEYS),
    }
    before = pickle.dumps(block)
    dataset = build_dataset(block, scale=2, seed=3, name='val')
    assert pickle.dumps(block) == before
    assert (dataset.name, dataset.scale, dataset.seed, str(dataset)) == ('Five', 2, 3, 'BicubicImageDataset "Five"')
    assert torch.equal(dataset[0]['gt'], to_tensor(read_image(folders / 'hr/0.png')))


def test_samples_are_finished_later_with_the_same_numbers(folders):
    """What a loader does with whole batches, `dataset[n]` does with one sample."""
    dataset = crops(folders, mean=[0.1, 0.2, 0.3], std=[0.5, 0.5, 0.25])
    stored = [dataset.raw(n) for n in range(3)]
    assert all(sample['gt'].dtype == np.uint8 and sample['gt'].shape == (16, 16, 3) for sample in stored)
    batch = dataset.to_float({'gt': torch.from_numpy(np.stack([sample['gt'] for sample in stored])), 'name': 'x'})
    assert torch.equal(batch['gt'], torch.stack([dataset[n]['gt'] for n in range(3)])) and batch['name'] == 'x'
    assert batch['gt'].is_contiguous()
