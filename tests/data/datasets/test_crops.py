import logging

import numpy as np
import pytest
import torch

from aesop.data import build_dataset
from aesop.errors import UserError
from aesop.utils.images import save_image


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
        f'BicubicImageDataset: skipped (1 of at most 1): {folders}/hr/2.png: the file is empty; '
        'replace the file or remove it from the data set'
    ]
    assert [*dataset.skipped] == [2]
    (folders / 'hr/3.png').write_text('hello')
    with pytest.raises(UserError, match='more than 0.01 of 5 images are unusable.*raise max_skipped.*3.png'):
        dataset[2]


def test_the_share_that_may_be_skipped(folders):
    for number in (1, 2, 3):
        (folders / f'hr/{number}.png').write_bytes(b'')
    dataset = crops(folders, on_error='skip', use_shuffle=False, max_skipped=0.6)
    assert [dataset[n]['index'] for n in range(5)] == [0, 4, 4, 4, 4]
    (folders / 'hr/4.png').write_bytes(b'')
    with pytest.raises(UserError, match='more than 0.6 of 5 images'):
        [dataset[n] for n in range(5)]
    assert len(crops(folders, on_error='skip', max_skipped=1).skipped) == 0
    (folders / 'hr/0.png').write_bytes(b'')
    with pytest.raises(UserError, match='no image can be used'):
        crops(folders, on_error='skip', max_skipped=1)[0]


def test_skip_goes_round_at_the_end_of_an_epoch(folders):
    (folders / 'hr/4.png').write_bytes(b'')
    dataset = crops(folders, on_error='skip', use_shuffle=False)
    assert [dataset[n]['index'] for n in range(6)] == [0, 1, 2, 3, 0, 0]


def test_skip_never_changes_a_validation(folders):
    (folders / 'hr/2.png').write_bytes(b'')
    dataset = crops(folders, on_error='skip', gt_size=None)
    with pytest.raises(UserError, match='2.png'):
        list(dataset)


def test_the_order_of_an_epoch_is_made_once(folders, monkeypatch):
    for shuffle in (True, False):
        dataset = crops(folders, use_shuffle=shuffle, dataset_enlarge_ratio=2)
        first, made = dataset._epoch(3), []
        monkeypatch.setattr(np, 'arange', lambda *size, made=made: made.append(size))
        assert dataset._epoch(3) is first and not made
        monkeypatch.undo()
        assert sorted(first) == sorted([0, 1, 2, 3, 4] * 2) and (list(first) == [0, 1, 2, 3, 4] * 2) is not shuffle
