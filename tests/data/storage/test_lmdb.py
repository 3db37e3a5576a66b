import sys

import numpy as np
import pytest
import torch

from aesop.data import build_dataset, train_loader
from aesop.data.storage import lmdb
from aesop.errors import UserError
from aesop.utils.images import save_image

pytest.importorskip('lmdb')


@pytest.fixture
def lmdbs(folders, as_lmdb):
    save_image(folders / 'hr/sub/café 7.png', np.full((16, 20, 3), 40000, np.uint16))
    save_image(folders / 'lr/sub/café 7.png', np.full((4, 5, 3), 40000, np.uint16))
    return as_lmdb(folders / 'hr'), as_lmdb(folders / 'lr')


def paired(gt, lq, **more):
    block = {'type': 'PairedImageDataset', 'dataroot_gt': str(gt), 'dataroot_lq': str(lq)}
    return build_dataset({**block, **more}, scale=4, seed=3)


LMDB = {'type': 'lmdb'}


def test_an_lmdb_is_the_folder_it_was_made_of(folders, lmdbs):
    for more in ({}, {'gt_size': 16}):
        files, stored = paired(folders / 'hr', folders / 'lr', **more), paired(*lmdbs, io_backend=LMDB, **more)
        assert stored.names == files.names == ['0', '1', '2', '3', '4', 'sub/café 7'] and stored.check() == []
        for n in range(6):
            assert all(torch.equal(stored[n][key], files[n][key]) for key in ('gt', 'lq'))


@pytest.mark.parametrize('cache', ['none', 'ram', 'disk'])
def test_workers_and_caches(folders, lmdbs, cache):
    """The parent has it open already: a worker must not use that, nor be kept from opening it."""
    stored = paired(*lmdbs, io_backend=LMDB, gt_size=16, cache=cache, cache_dir=str(folders / 'cache'))
    assert stored.check() == []
    expected = list(train_loader(paired(folders / 'hr', folders / 'lr', gt_size=16), 3, total_iter=6))
    for workers in (0, 2):
        batches = list(train_loader(stored, 3, workers, total_iter=6))
        assert all(torch.equal(one['gt'], other['gt']) for one, other in zip(batches, expected, strict=True))


def test_meta_info_chooses_images(lmdbs, tmp_path):
    (tmp_path / 'some.txt').write_text('3.png (52,44,3)\n1.png\n')
    assert paired(*lmdbs, io_backend=LMDB, meta_info=str(tmp_path / 'some.txt')).names == ['3', '1']


def test_damaged_entries_are_named(folders, as_lmdb):
    png = (folders / 'hr/1.png').read_bytes()
    root = as_lmdb(folders / 'hr', {'0': b'', '1': png[: len(png) // 2], '2': b'hello', '3': None})
    dataset = build_dataset({'type': 'SingleImageDataset', 'dataroot_lq': str(root), 'io_backend': LMDB})
    empty, cut, text, gone = dataset.check()
    assert f'{root}/0.png: this cannot be read as an image' in empty
    assert f'{root}/1.png: the file is not an 8- or 16-bit image, or is damaged or truncated' in cut
    assert f'{root}/2.png: this cannot be read as an image' in text
    assert f'{root}/3.png: the LMDB lists this image but does not contain it; recreate it' in gone
    for n in range(4):
        with pytest.raises(UserError, match=f'{n}.png: the (file|LMDB)'):
            dataset[n]
    assert dataset[4]['lq'].shape == (3, 41, 59)


def test_damaged_lmdbs(folders, lmdbs, tmp_path):
    root = lmdbs[0]
    with pytest.raises(UserError, match='hr: with `io_backend: .*` the folder must be named X.lmdb'):
        paired(folders / 'hr', folders / 'lr', io_backend=LMDB)
    with pytest.raises(UserError, match='no.lmdb: data.mdb and meta_info.txt not found'):
        paired(tmp_path / 'no.lmdb', lmdbs[1], io_backend=LMDB)
    dataset = paired(*lmdbs, io_backend=LMDB)
    content = (root / 'data.mdb').read_bytes()
    (root / 'data.mdb').write_bytes(content[: len(content) // 2 // 4096 * 4096])
    assert any('hr.lmdb: data.mdb is truncated; recreate it' in problem for problem in dataset.check())
    (root / 'data.mdb').write_bytes(b'hello')
    assert any('hr.lmdb/0.png: the LMDB is damaged' in problem for problem in dataset.check())


def test_without_the_package(lmdbs, monkeypatch):
    lmdb.close()
    monkeypatch.setitem(sys.modules, 'lmdb', None)
    (problem,) = paired(*lmdbs, io_backend=LMDB).check()
    assert problem == "io_backend lmdb: the package lmdb is not installed; pip install 'aesop-sr[lmdb]'"
