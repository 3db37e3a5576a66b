import hashlib
import multiprocessing
import os
import random
import signal

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from aesop.data import build_dataset, train_loader, val_loader, waiting_advice
from aesop.data.datasets.bicubic import BicubicImageDataset
from aesop.data.loader import prefetched
from aesop.errors import RunEnded, UserError
from aesop.utils.images import save_image, to_tensor


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


def test_validation_goes_over_whole_images(folders):
    block = {'type': 'PairedImageDataset', 'dataroot_gt': str(folders / 'hr'), 'dataroot_lq': str(folders / 'lr')}
    dataset = build_dataset(block)
    assert [batch['name'][0] for batch in val_loader(dataset, [3, 0], num_workers=1)] == ['3', '0']
    (first, *_) = val_loader(dataset)
    assert first['gt'].shape == (1, 3, 40, 56) and first['index'].tolist() == [0]
    assert len(list(val_loader(dataset))) == len(val_loader(dataset)) == 5


@pytest.mark.parametrize('workers', [0, 2])
def test_mistakes_keep_their_sentence(dataset, folders, workers):
    (folders / 'hr/3.png').write_bytes(b'')
    with pytest.raises(UserError) as error:
        list(train_loader(dataset, 5, workers, total_iter=1))
    remedy = 'replace the file or remove it from the data set'
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


def digests(loader):
    """One short number for each sample, batch by batch."""
    return [
        hashlib.sha1(gt.numpy().tobytes() + lq.numpy().tobytes()).hexdigest()
        for batch in loader
        for gt, lq in zip(batch['gt'], batch['lq'])
    ]


@pytest.mark.filterwarnings('ignore:This DataLoader will create 4 worker processes')
def test_the_same_thousand_samples_whatever_reads_them(folders):
    def loader(cache='disk', batch_size=20, **more):
        block = {'type': 'BicubicImageDataset', 'dataroot_gt': str(folders / 'hr'), 'gt_size': 16, 'cache': cache}
        dataset = build_dataset({**block, 'cache_dir': str(folders / 'cache')}, scale=4, seed=11)
        return train_loader(dataset, batch_size, total_iter=50, **more)

    thousand = digests(loader('none'))
    assert len(thousand) == 1000 and len(set(thousand)) > 800  # of small images, the same crop comes by chance
    for workers in (0, 1, 2, 4):
        assert digests(loader(num_workers=workers)) == thousand, workers
    ranks = [digests(loader(batch_size=10, num_workers=2 * rank, rank=rank, world_size=2)) for rank in range(2)]
    assert sorted(ranks[0] + ranks[1]) == sorted(thousand) and len(ranks[0]) == 500
    start = random.Random().randrange(1, 50)
    assert digests(loader(num_workers=2, start_iter=start)) == thousand[20 * start :], start


@pytest.mark.parametrize('workers', [0, 2])
def test_skipped_images_are_counted_once_for_all_workers(folders, caplog, workers):
    for number in (1, 3):
        (folders / f'hr/{number}.png').write_bytes(b'')
    block = {'type': 'BicubicImageDataset', 'dataroot_gt': str(folders / 'hr'), 'gt_size': 16, 'on_error': 'skip'}
    dataset = build_dataset({**block, 'max_skipped': 0.4}, scale=4)
    batches = list(train_loader(dataset, 3, workers, total_iter=10))
    assert {int(index) for batch in batches for index in batch['index']} == {0, 2, 4}
    assert set(dataset.skipped) == {1, 3} and not any('skipped' in batch for batch in batches)
    assert sorted(record.getMessage().split(': ')[1] for record in caplog.records) == [
        'skipped (1 of at most 2)',
        'skipped (2 of at most 2)',
    ]
    (folders / 'hr/2.png').write_bytes(b'')
    with pytest.raises(UserError, match='more than 0.4 of 5 images are unusable'):
        list(train_loader(dataset, 3, workers, total_iter=10))


def test_images_of_8_and_16_bits_share_a_batch(folders):
    deep = np.random.default_rng(0).integers(0, 2**16, (40, 40, 3), dtype=np.uint16)
    save_image(folders / 'hr/0.png', deep)
    block = {'type': 'BicubicImageDataset', 'dataroot_gt': str(folders / 'hr'), 'gt_size': 16, 'mean': [0.1, 0.2, 0.3]}
    dataset = build_dataset(block, scale=4)
    (batch,) = train_loader(dataset, 5, 1, total_iter=1)
    for n in range(5):
        assert torch.equal(batch['gt'][n], dataset[n]['gt']) and torch.equal(batch['lq'][n], dataset[n]['lq'])


def test_a_class_with_its_own_samples_keeps_them(folders):
    class Negative(BicubicImageDataset):
        def __getitem__(self, n):
            return {'gt': 1 - super().__getitem__(n)['gt']}

    dataset = Negative(dataroot_gt=str(folders / 'hr'), gt_size=16)
    (batch,) = train_loader(dataset, 2, total_iter=1)
    assert torch.equal(batch['gt'][1], dataset[1]['gt'])


def batches_of_bytes():
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3).view(3, 16, 16).permute(1, 2, 0)
    return [{'gt': (pixels + n)[None], 'index': torch.tensor([n]), 'name': [str(n)]} for n in range(5)]


def finish(batch):
    return batch | {'gt': to_tensor(batch['gt'])}


def test_on_the_cpu_nothing_is_fetched_ahead():
    asked = []
    batches = (asked.append(batch['index'].item()) or batch for batch in batches_of_bytes())
    fetched = prefetched(batches, torch.device('cpu'), finish)
    first = next(fetched)
    assert asked == [0] and torch.equal(first['gt'], finish(batches_of_bytes()[0])['gt'])
    assert [batch['name'] for batch in fetched] == [['1'], ['2'], ['3'], ['4']]


@pytest.mark.gpu
def test_on_a_gpu_batches_arrive_with_the_same_bits():
    device = torch.device('cuda', torch.cuda.current_device())
    busy = torch.randn(2048, 2048, device=device)
    fetched = []
    for batch in prefetched(batches_of_bytes(), device, finish):
        busy = busy @ busy / 2048  # the current stream has work while the next batch is copied
        assert batch['gt'].is_cuda and not batch['index'].is_cuda
        fetched.append(batch['gt'] + 0 * busy[0, 0].nan_to_num())
        del batch  # its memory may be used again, but not before this stream is done
    for got, batch in zip(fetched, batches_of_bytes(), strict=True):
        assert torch.equal(got.cpu(), finish(batch)['gt'])


def test_what_to_change_when_data_is_waited_for():
    assert (
        waiting_advice({}) == 'set cache: disk, so that no image is decoded twice, or raise num_worker_per_gpu (now 0)'
    )
    assert waiting_advice({'cache': 'disk', 'num_worker_per_gpu': 4}) == 'raise num_worker_per_gpu (now 4)'


def test_a_killed_worker_is_told_in_a_sentence(dataset):
    before, handler = set(multiprocessing.active_children()), signal.getsignal(signal.SIGCHLD)
    batches = iter(train_loader(dataset, 4, 1, total_iter=1000))
    next(batches)
    (worker,) = set(multiprocessing.active_children()) - before
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(RunEnded, match=r'a data worker was killed \(signal 9\).*lower num_worker_per_gpu'):
        list(batches)
    assert signal.getsignal(signal.SIGCHLD) == handler


def full(*_):
    raise RuntimeError('unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)\nmore')


def read_only():
    raise OSError(30, 'Read-only file system')


@pytest.mark.parametrize(
    ('name', 'fault', 'told'),
    [
        ('aesop.data.loader.default_collate', full, r'No space left on device \(28\)\)'),
        ('aesop.data.loader.multiprocessing.Lock', read_only, r'Read-only file system\)'),
    ],
)
def test_too_little_shared_memory_is_told_with_a_remedy(dataset, name, fault, told, monkeypatch):
    loader = train_loader(dataset, 4, 1, total_iter=3)
    monkeypatch.setattr(name, fault)
    with pytest.raises(UserError, match=f'{told}: set `num_worker_per_gpu: 0`, or start the container'):
        list(loader)
    monkeypatch.undo()
    assert len(list(train_loader(dataset, 4, 0, total_iter=3))) == 3
