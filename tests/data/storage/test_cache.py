import json
import mmap
import os
import pickle
import threading
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from aesop.data import build_dataset, train_loader
from aesop.data.storage import cache as cache_module
from aesop.data.storage.cache import DiskCache
from aesop.errors import UserError
from aesop.utils.images import read_image, save_image


def crops(folders, kind='BicubicImageDataset', **more):
    block = {'type': kind, 'dataroot_gt': str(folders / 'hr'), 'gt_size': 16, 'cache_dir': str(folders / 'cache')}
    return build_dataset({**block, **more}, scale=4, seed=5)


def same(one, other):
    return one['name'] == other['name'] and torch.equal(one['gt'], other['gt'])


def stamps(folder):
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.glob('*.png'))}


@pytest.fixture
def reads(monkeypatch):
    """The files that are decoded from here on."""
    paths = []
    monkeypatch.setattr('aesop.data.storage.source.read_image', lambda path: paths.append(path) or read_image(path))
    return paths


KINDS = {
    'bicubic': {},
    'paired': {'kind': 'PairedImageDataset'},
    'real': {'kind': 'RealESRGANDataset', 'crop_size': 48},
    'whole': {'gt_size': None},
}


@pytest.mark.parametrize('cache', ['ram', 'disk'])
@pytest.mark.parametrize('kind', KINDS)
def test_samples_are_those_without_cache_and_each_file_is_decoded_once(folders, reads, kind, cache):
    more = dict(KINDS[kind])
    save_image(folders / 'hr/0.png', np.random.default_rng(0).integers(0, 2**16, (40, 56, 3), dtype=np.uint16))
    if kind == 'paired':
        more['dataroot_lq'] = str(folders / 'lr')
    plain, cached = crops(folders, **more), crops(folders, **more, cache=cache)
    expected = [plain[n] for n in range(5 if kind == 'whole' else 20)]
    reads.clear()
    assert all(same(cached[n], sample) for n, sample in enumerate(expected))
    assert len(reads) == len(set(reads)) == (10 if kind == 'paired' else 5)
    reads.clear()
    assert same(crops(folders, **more, cache=cache)[3], expected[3])
    assert bool(reads) is (cache == 'ram')  # what is on the disk is there for the next run


def test_a_crop_reads_its_own_rows_alone(folders):
    dataset = crops(folders, cache='disk')
    dataset.open()
    pixels = dataset._decoded._pixels
    for path in dataset._paths():
        image = dataset._read(path)
        assert np.shares_memory(image, pixels) and not image.flags.writeable
        assert np.array_equal(image, read_image(path))
    (array,) = (folders / 'cache').glob('*.npy')
    assert np.load(array, allow_pickle=False).tobytes() == pixels.tobytes()


def test_the_rows_of_a_crop_are_asked_for_at_once(folders, monkeypatch):
    for number in range(4):
        save_image(folders / f'hr/big{number}.png', np.full((300, 400, 3), number, np.uint8))
    cache = DiskCache('set', folders / 'cache', ['hr'], stamps(folders / 'hr'))
    cache.build(read_image, 10)
    asked = []
    cache._file = SimpleNamespace(madvise=lambda advice, start, length: asked.append((advice, start, length)))
    for path in cache:
        image = cache[path]
        cache.read_ahead(image[10:30, 5:25])
        (advice, start, length) = asked.pop()
        first = cache._places[path][0] + cache._begin
        stride = 3 * image.shape[1]
        begin, end = first + 10 * stride + 15, first + 29 * stride + 75
        assert advice == mmap.MADV_WILLNEED and start % mmap.PAGESIZE == 0
        assert 0 <= begin - start < mmap.PAGESIZE and start + length == end
    cache.read_ahead(np.zeros((9, 9, 3), np.uint8))  # not of the cache
    assert not asked


def test_changed_files_are_decoded_anew(folders, reads):
    changes = {
        'other pixels': lambda: save_image(folders / 'hr/1.png', np.full((48, 48, 3), 7, np.uint8)),
        'a later time': lambda: os.utime(folders / 'hr/2.png', ns=(10**18, 10**18)),
        'one more': lambda: save_image(folders / 'hr/9.png', np.full((48, 48, 3), 9, np.uint8)),
    }
    crops(folders, cache='disk').open()
    for change in changes.values():
        change()
        reads.clear()
        dataset = crops(folders, cache='disk')
        assert all(same(dataset[n], crops(folders)[n]) for n in range(12))
        reads.clear()
        crops(folders, cache='disk').open()
        assert reads == []
    assert len(list((folders / 'cache').glob('*.npy'))) == 1
    other = crops(folders, 'RealESRGANDataset', crop_size=48, cache='disk')
    other.open()
    assert reads == []  # another kind of data set, with the same files


def test_of_two_builds_at_once_one_decodes_and_the_other_waits(folders, monkeypatch):
    monkeypatch.setattr(cache_module, '_BUSY', 0.05)
    reads, begun, go_on = [], threading.Event(), threading.Event()

    def read(path):
        reads.append(path)
        begun.set()
        go_on.wait(300)
        return read_image(path)

    caches = [DiskCache('set', folders / 'cache', ['hr'], stamps(folders / 'hr')) for _ in range(2)]
    first, second = (threading.Thread(target=cache.build, args=(read, 10)) for cache in caches)
    first.start()
    assert begun.wait(300)
    waits = threading.Event()
    monkeypatch.setattr(cache_module.logger, 'info', lambda text, *_: 'waiting' in text and waits.set())
    second.start()
    assert waits.wait(300)
    go_on.set()
    first.join()
    second.join()
    assert len(reads) == 5
    for cache in caches:
        assert all(np.array_equal(cache[path], read_image(path)) for path in cache.stamps)


def _die_while_building(folder, paths):
    def read(path):
        if path.stem == '3':
            os._exit(9)
        return read_image(path)

    DiskCache('set', folder, ['hr'], paths).build(read, 10)


def test_an_interrupted_build_begins_again(folders):
    paths = stamps(folders / 'hr')
    process = get_context('fork').Process(target=_die_while_building, args=(folders / 'cache', paths))
    process.start()
    process.join()
    assert process.exitcode == 9 and len(list((folders / 'cache').glob('*.npy'))) == 1
    cache = DiskCache('set', folders / 'cache', ['hr'], paths)
    assert not cache.open()

    def interrupt(path):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.build(interrupt, 10)
    assert [path.suffix for path in (folders / 'cache').iterdir()] == ['.lock']
    cache.build(read_image, 10)
    assert all(np.array_equal(cache[path], read_image(path)) for path in paths)
    assert len(list((folders / 'cache').glob('*.npy'))) == 1


def test_a_damaged_cache_is_built_anew(folders, reads):
    def damage_index(text):
        (index,) = (folders / 'cache').glob('*.json')
        index.write_text(text)

    def damage_array(content):
        (array,) = (folders / 'cache').glob('*.npy')
        array.write_bytes(content(array.read_bytes()))

    damages = [
        lambda: damage_index(''),
        lambda: damage_index('[1]'),
        lambda: damage_index(json.dumps({'array': '../x', 'sources': [], 'bytes': 0, 'images': []})),
        lambda: damage_array(lambda content: content[:-1]),
        lambda: damage_array(lambda content: pickle.dumps(len).ljust(len(content), b'x')),
    ]
    crops(folders, cache='disk').open()
    for damage in damages:
        damage()
        reads.clear()
        assert same(crops(folders, cache='disk')[2], crops(folders)[2])
        assert len(reads) == 6


def test_no_disk_is_filled(folders, monkeypatch):
    usage = SimpleNamespace(free=10**9 + 20_000)
    monkeypatch.setattr(cache_module.shutil, 'disk_usage', lambda path: usage)
    dataset = crops(folders, cache='disk')
    (problem,) = dataset.check()
    assert 'BicubicImageDataset: `cache: disk` needs 3.54e-05 GB, but only 2e-05 GB can be used in' in problem
    assert 'set cache_dir to a folder on another disk, or use `cache: none`' in problem
    with pytest.raises(UserError, match='cache: disk` needs'):
        dataset.open()
    with pytest.raises(UserError, match='cache: disk` needs'):  # the headers told too little
        DiskCache('set', folders / 'cache', ['hr'], stamps(folders / 'hr')).build(read_image, 10)
    assert {path.suffix for path in (folders / 'cache').iterdir()} == {'.lock'}
    usage.free *= 2
    assert dataset.check() == []
    dataset.open()
    usage.free = 0
    assert crops(folders, cache='disk').check() == []  # it is there already


def test_the_size_is_told_before(folders, caplog):
    save_image(folders / 'hr/0.png', np.zeros((1000, 2000, 3), np.uint16))
    with caplog.at_level('INFO'):
        crops(folders, cache='disk').open()
    (text,) = [record.getMessage() for record in caplog.records]
    assert text == f'BicubicImageDataset: 0.012 GB into {folders}/cache: decoding 5 images, once'
    with caplog.at_level('INFO'):
        crops(folders, cache='ram').open()
    assert caplog.records[-1].getMessage() == 'BicubicImageDataset: 0.012 GB into memory: decoding 5 images, once'


def test_more_than_the_memory_holds(folders, monkeypatch):
    monkeypatch.setattr(cache_module.os, 'sysconf', lambda name: 100)
    with pytest.raises(UserError, match='`cache: ram` needs 3.54e-05 GB, but the machine has 1e-05 GB; use `cache: d'):
        crops(folders, cache='ram').open()


def test_a_folder_that_cannot_be_written(folders):
    (folders / 'cache').write_text('')
    with pytest.raises(UserError, match='cache: the decode cache cannot be written there .*; set cache_dir'):
        crops(folders, cache='disk').open()


@pytest.mark.parametrize('cache', ['ram', 'disk'])
def test_damaged_images_are_named_at_once_or_skipped(folders, cache):
    png = (folders / 'hr/1.png').read_bytes()
    (folders / 'hr/1.png').write_bytes(png[: len(png) // 2] + png[-12:])  # its ends are as they should be
    (folders / 'hr/3.png').write_bytes(b'')
    with pytest.raises(UserError) as error:
        crops(folders, cache=cache).open()
    assert [Path(problem.split(':')[0]).name for problem in error.value.problems] == ['1.png', '3.png']
    with pytest.raises(UserError, match='1.png'):
        crops(folders, cache=cache).open()  # also from what was built just now
    skipping = crops(folders, cache=cache, on_error='skip', max_skipped=0.5)
    assert {skipping[n]['index'] for n in range(20)} == {0, 2, 4} and set(skipping.skipped) == {1, 3}


def test_workers_share_it(folders, reads):
    plain = list(train_loader(crops(folders), 4, total_iter=8))
    cached = crops(folders, cache='disk')
    reads.clear()
    assert all(map(same_batch, train_loader(cached, 4, 2, total_iter=8), plain))
    assert len(reads) == 5  # by this process, before the workers began


def same_batch(one, other):
    return torch.equal(one['gt'], other['gt']) and torch.equal(one['lq'], other['lq'])


def test_a_process_that_is_not_forked_maps_it_itself(folders):
    for number in range(30):
        save_image(folders / f'hr/more{number}.png', np.full((64, 64, 3), number, np.uint8))
    dataset = crops(folders, cache='disk')
    dataset.open()
    sent = pickle.dumps(dataset)
    assert len(sent) < 20_000 < dataset._decoded._pixels.nbytes
    assert all(same(pickle.loads(sent)[n], dataset[n]) for n in range(10))
