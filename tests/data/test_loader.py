import os
import random
import signal

import cv2
import pytest
import torch
from torch.utils.data import Dataset

from aesop.data import build_dataset, train_loader, val_loader
from aesop.errors import UserError


@pytest.fixture
def dataset(folders):
    block = {'type': 'BicubicImageDataset', 'dataroot_gt': str(folders / 'hr'), 'gt_size': 16, 'cache': 'ram'}
    return build_dataset(block, scale=4, seed=11)


def same(one, other):
    return one['name'] == other['name'] and torch.equal(one['gt'], other['gt']) and torch.equal(one['lq'], other['lq'])


def test_batches(dataset):
    (first, second) = train_loader(dataset, 3, total_iter=2)
    assert first['gt'].shape == (3, 3, 16, 16) and first['lq'].shape == (3, 3, 4, 4)
    for batch, start in ((first, 0), (second, 3)):
        samples = [dataset[n] for n in range(start, start + 3)]
        assert batch['name'] == [sample['name'] for sample in samples]
        assert torch.equal(batch['gt'], torch.stack([sample['gt'] for sample in samples]))


@pytest.mark.filterwarnings('ignore:This DataLoader will create 3 worker processes')
@pytest.mark.parametrize('workers', [1, 3])
def test_workers_change_nothing(dataset, workers):
    alone = list(train_loader(dataset, 4, total_iter=50))
    shared = list(train_loader(dataset, 4, workers, total_iter=50, prefetch_factor=3))
    assert len(alone) == len(shared) == 50
    assert all(map(same, alone, shared))


def test_ranks_share_what_one_rank_sees(dataset):
    alone = list(train_loader(dataset, 4, total_iter=50))
    ranks = [list(train_loader(dataset, 2, total_iter=50, rank=rank, world_size=2)) for rank in range(2)]
    for whole, one, other in zip(alone, *ranks, strict=True):
        assert whole['name'] == one['name'] + other['name']
        assert torch.equal(whole['lq'], torch.cat([one['lq'], other['lq']]))


def test_resuming_goes_on_as_if_uninterrupted(dataset):
    whole = list(train_loader(dataset, 4, total_iter=50))
    start = random.Random().randrange(1, 50)
    resumed = list(train_loader(dataset, 4, 2, start_iter=start, total_iter=50))
    assert len(resumed) == 50 - start, start
    assert all(map(same, whole[start:], resumed)), start


def test_the_global_generator_is_left_alone(dataset):
    before = torch.get_rng_state()
    list(train_loader(dataset, 2, 1, total_iter=2))
    assert torch.equal(torch.get_rng_state(), before)


def test_validation_is_shared_among_ranks(folders):
    block = {'type': 'PairedImageDataset', 'dataroot_gt': str(folders / 'hr'), 'dataroot_lq': str(folders / 'lr')}
    dataset = build_dataset(block)
    shares = [[batch['name'][0] for batch in val_loader(dataset, rank, 3, num_workers=1)] for rank in range(3)]
    assert shares == [['0', '3'], ['1', '4'], ['2']]
    (first, *_) = val_loader(dataset)
    assert first['gt'].shape == (1, 3, 40, 56) and first['index'].tolist() == [0]
    assert len(list(val_loader(dataset, 1, 2, limit=3))) == 1
    assert len(list(val_loader(dataset, limit=99))) == len(val_loader(dataset)) == 5


@pytest.mark.parametrize('workers', [0, 2])
def test_mistakes_keep_their_sentence(dataset, folders, workers):
    (folders / 'hr/3.png').write_bytes(b'')
    with pytest.raises(UserError) as error:
        list(train_loader(dataset, 5, workers, total_iter=1))
    remedy = 'replace the file or take it out of the data set'
    assert str(error.value) == f'{folders}/hr/3.png: the file is empty; {remedy}'


class Pids(Dataset):
    def __getitem__(self, n):
        return {'pid': os.getpid()}


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_workers_leave_signals_to_the_run(number):
    pids = []
    for batch in train_loader(Pids(), 1, 1, total_iter=40):
        pids.append(int(batch['pid']))
        os.kill(pids[-1], number)
    assert len(pids) == 40 and len(set(pids)) == 1 and os.getpid() not in pids


class Threads(Dataset):
    def __getitem__(self, n):
        return {'threads': torch.tensor([cv2.getNumThreads(), torch.get_num_threads()])}


def test_workers_are_single_threaded():
    here = cv2.getNumThreads()
    (batch,) = train_loader(Threads(), 1, 1, total_iter=1)
    assert batch['threads'].tolist() == [[1, 1]]
    assert cv2.getNumThreads() == here
