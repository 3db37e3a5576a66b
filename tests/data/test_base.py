import logging
import pickle

import numpy as np
import pytest
import torch

from aesop.data import LOADER_KEYS, build_dataset
from aesop.errors import UserError
from aesop.images import read_image, save_image, to_tensor, to_y


def crops(folders, seed=5, **more):
    block = {'type': 'BicubicImageDataset', 'dataroot_gt': str(folders / 'hr'), 'gt_size': 16}
    return build_dataset({**block, **more}, scale=4, seed=seed)


def same(one, other):
    return one['name'] == other['name'] and torch.equal(one['gt'], other['gt']) and torch.equal(one['lq'], other['lq'])


def test_a_sample_depends_on_its_position_alone(folders):
    dataset = crops(folders)
    forward = [dataset[n] for n in range(30)]
    fresh = crops(folders)
    for n in np.random.default_rng(0).permutation(30):
        assert same(fresh[n], forward[n])
    differing = sum(not same(a, crops(folders, seed=6)[n]) for n, a in enumerate(forward))
    assert differing > 25
    assert not same(dataset[5 * 10**9], dataset[5 * 10**9 + 1])


def test_every_epoch_is_a_new_order_of_all_images(folders):
    dataset = crops(folders)
    epochs = [[dataset[n]['index'] for n in range(5 * e, 5 * e + 5)] for e in range(8)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 5
    straight = crops(folders, use_shuffle=False)
    assert [straight[n]['index'] for n in range(10)] == [0, 1, 2, 3, 4] * 2


def test_enlarge_ratio_makes_longer_epochs(folders):
    dataset = crops(folders, dataset_enlarge_ratio=3)
    assert len(dataset) == 15
    assert sorted(dataset[n]['index'] for n in range(15)) == sorted([0, 1, 2, 3, 4] * 3)
    assert len(crops(folders, dataset_enlarge_ratio=3, gt_size=None)) == 5


def test_no_augmentation_when_forbidden(folders):
    for number in range(5):
        ramp = np.add.outer(np.arange(40), 2 * np.arange(60)).astype(np.uint8)
        save_image(folders / f'hr/{number}.png', np.dstack([ramp] * 3))

    def slopes(**options):
        dataset = crops(folders, **options)
        gts = [dataset[n]['gt'][0].mul(255).round() for n in range(40)]
        return {(int(gt[1, 0] - gt[0, 0]), int(gt[0, 1] - gt[0, 0])) for gt in gts}

    assert slopes(use_flip=False, use_rot=False) == {(1, 2)}
    assert slopes(use_rot=False) == {(1, 2), (1, -2)}
    assert slopes(use_hflip=False) == {(1, 2), (-1, 2), (2, 1), (2, -1)}
    assert len(slopes()) == 8


def test_normalisation_and_luma(folders):
    plain = crops(folders)[3]
    shifted = crops(folders, mean=[0.1, 0.2, 0.3], std=[0.5, 0.5, 0.25])[3]
    expected = (plain['gt'] - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.5, 0.5, 0.25]).view(
        3, 1, 1
    )
    assert torch.allclose(shifted['gt'], expected)
    luma = crops(folders, color='y')[3]
    assert torch.equal(luma['lq'], to_y(plain['lq'])) and luma['gt'].shape == (1, 16, 16)


def test_ram_cache_reads_each_file_once(folders, monkeypatch):
    dataset, reads = crops(folders, cache='ram'), []
    expected = [crops(folders)[n] for n in range(20)]
    monkeypatch.setattr('aesop.data.base.read_image', lambda path: reads.append(path) or read_image(path))
    assert all(same(dataset[n], expected[n]) for n in range(20))
    assert len(reads) == len(set(reads)) == 5


def test_errors_are_raised_by_default(folders):
    (folders / 'hr/2.png').write_bytes(b'')
    with pytest.raises(UserError, match='2.png: the file is empty'):
        [crops(folders)[n] for n in range(5)]


def test_skip_takes_the_next_image(folders, caplog):
    (folders / 'hr/2.png').write_bytes(b'')
    dataset = crops(folders, on_error='skip', use_shuffle=False)
    with caplog.at_level(logging.WARNING):
        assert [dataset[n]['index'] for n in range(10)] == [0, 1, 3, 3, 4] * 2
    assert [record.getMessage() for record in caplog.records] == [
        f'BicubicImageDataset: skipped: {folders}/hr/2.png: the file is empty; '
        'replace the file or take it out of the data set'
    ]
    (folders / 'hr/3.png').write_text('hello')
    with pytest.raises(UserError, match='more than 1% of 5 images are unusable.*3.png'):
        dataset[2]


def test_skip_goes_round_at_the_end_of_an_epoch(folders):
    (folders / 'hr/4.png').write_bytes(b'')
    dataset = crops(folders, on_error='skip', use_shuffle=False)
    assert [dataset[n]['index'] for n in range(6)] == [0, 1, 2, 3, 0, 0]


def test_skip_never_changes_a_validation(folders):
    (folders / 'hr/2.png').write_bytes(b'')
    dataset = crops(folders, on_error='skip', gt_size=None)
    with pytest.raises(UserError, match='2.png'):
        list(dataset)


def test_check_names_every_problem(folders):
    assert crops(folders).check() == []
    (folders / 'hr/0.png').write_text('hello')
    (folders / 'hr/1.png').write_bytes(b'')
    save_image(folders / 'hr/sub/x.png', np.zeros((8, 90, 3), np.uint8))
    save_image(folders / 'hr/sub/x.jpg', np.zeros((90, 90, 3), np.uint8))
    dataset = crops(folders)
    (folders / 'hr/3.png').unlink()
    unreadable, empty, gone, small, twice = dataset.check()
    assert '0.png: this cannot be read as an image' in unreadable and '1.png' in empty and '3.png: there is no' in gone
    assert 'sub/x.png: 8x90' in small and '2 images are called sub/x' in twice
    for number in range(30):
        save_image(folders / f'hr/tiny{number}.png', np.zeros((8, 8, 3), np.uint8))
    assert len(crops(folders).check()) == 21


@pytest.mark.parametrize(
    'wrong, sentence',
    [
        ({'io_backend': {'type': 'lmdb'}}, 'io_backend `type: lmdb` is not available yet'),
        ({'color': 'gray'}, "color is 'gray'; set it to rgb or y"),
        ({'cache': 'disk'}, "cache is 'disk'; set it to none or ram"),
        ({'on_error': 'ignore'}, "on_error is 'ignore'; set it to raise or skip"),
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
