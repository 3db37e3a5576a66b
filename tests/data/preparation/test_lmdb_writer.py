import os
import shutil
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from aesop.data import build_dataset
from aesop.data.preparation import lmdb_writer
from aesop.utils.images import read_image, save_image
from tests.commands import command

main = command('lmdb')

lmdb = pytest.importorskip('lmdb')


def image(seed, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (20, 24, 3), dtype=dtype)


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for n in range(6):
        save_image(f'in/{n}.png', image(n))
    save_image('in/more/deep.png', image(7, np.uint16))
    save_image('in/ä 日本.jpg', image(8))
    cv2.imwrite('in/grey.png', image(9)[..., 0])


def run(folder='in', out='out.lmdb'):
    return main([folder, out, '--workers', '1'])


def values(path):
    with lmdb.open(path, readonly=True, lock=False) as environment, environment.begin() as transaction:
        return {key.decode(): bytes(value) for key, value in transaction.cursor()}


def test_the_layout_and_the_pixels(capsys):
    assert run() == 0
    assert {path.name for path in Path('out.lmdb').iterdir()} == {'data.mdb', 'lock.mdb', 'meta_info.txt'}
    images = {path.relative_to('in').with_suffix('').as_posix(): path for path in Path('in').rglob('*.*')}
    stored = values('out.lmdb')
    assert stored.keys() == images.keys()
    for key, path in images.items():
        assert stored[key].startswith(b'\x89PNG')
        decoded = cv2.imdecode(np.frombuffer(stored[key], np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1]
        assert decoded.dtype == read_image(path).dtype and np.array_equal(decoded, read_image(path))
    lines = Path('out.lmdb/meta_info.txt').read_text(encoding='utf-8').splitlines()
    assert len(lines) == 9 and lines[0] == '0.png (20,24,3) 1'
    assert {'more/deep.png (20,24,3) 1', 'ä 日本.png (20,24,3) 1'} <= set(lines)


def test_a_data_set_reads_it_as_it_reads_the_folder():
    assert run() == 0
    block = {'type': 'BicubicImageDataset', 'gt_size': 8}
    folder = build_dataset({**block, 'dataroot_gt': 'in'}, scale=4)
    stored = build_dataset({**block, 'dataroot_gt': 'out.lmdb', 'io_backend': {'type': 'lmdb'}}, scale=4)
    assert stored.check() == [] and stored.names == folder.names
    for n in range(20):
        assert (stored[n]['gt'] == folder[n]['gt']).all() and (stored[n]['lq'] == folder[n]['lq']).all()


def test_it_grows_beyond_its_first_size(monkeypatch):
    monkeypatch.setattr(lmdb_writer, 'BATCH', 2000)
    assert run() == 0
    assert len(values('out.lmdb')) == 9 and Path('out.lmdb/data.mdb').stat().st_size > 10_000


@pytest.mark.parametrize('transaction', [0, 1, 4])
def test_a_kill_and_a_second_start_give_the_same(monkeypatch, transaction):
    assert run(out='reference.lmdb') == 0
    monkeypatch.setattr(lmdb_writer, 'BATCH', 2000)
    child = os.fork()
    if not child:
        count = iter(range(100))
        write = lmdb_writer.write

        def kill(*arguments):
            write(*arguments)
            if next(count) == transaction:
                os.kill(os.getpid(), signal.SIGKILL)

        lmdb_writer.write = kill
        os._exit(run())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not Path('out.lmdb').exists()
    save_image('in/5.png', image(5))  # another time, the same content
    assert run() == 0
    assert values('out.lmdb') == values('reference.lmdb')
    assert Path('out.lmdb/meta_info.txt').read_bytes() == Path('reference.lmdb/meta_info.txt').read_bytes()


def test_what_is_there_is_not_encoded_again(monkeypatch):
    Path('in/text.png').write_text('no image')
    assert run() == 2
    Path('in/text.png').unlink()
    Path('in/0.png').unlink()
    save_image('in/1.png', image(11)[:8])
    read = []
    monkeypatch.setattr(lmdb_writer, 'read_image', lambda path: read.append(path.name) or read_image(path))
    assert run() == 0
    assert read == ['1.png']
    stored = values('out.lmdb')
    assert '0' not in stored and len(stored) == 8
    assert '1.png (8,24,3) 1' in Path('out.lmdb/meta_info.txt').read_text()


def test_bad_images_and_mistakes_are_told(capsys):
    assert run() == 0 and run() == 2
    assert 'out.lmdb already exists' in capsys.readouterr().err
    assert run(out='out') == 2
    assert 'must end with .lmdb' in capsys.readouterr().err
    Path('in/empty.png').write_bytes(b'')
    Path('in/text.png').write_text('no image')
    Path('in/cut.png').write_bytes(Path('in/0.png').read_bytes()[:-100])
    save_image('in/pixel.png', image(1)[:1, :1])
    Path('in/link.png').symlink_to('nowhere.png')
    assert run(out='bad.lmdb') == 2
    said = capsys.readouterr().err
    assert said.count('in/link.png: file not found') == 1
    Path('in/link.png').unlink()
    for name in ('empty', 'text', 'cut'):
        assert said.count(f'in/{name}.png: the file is') == 1
        Path(f'in/{name}.png').unlink()
    assert not Path('bad.lmdb').exists()
    assert run(out='bad.lmdb') == 0 and len(values('bad.lmdb')) == 10
    shutil.copy('in/0.png', 'in/0.jpg')
    assert run(out='twice.lmdb') == 2
    assert 'in: several images are named 0; rename all but one' in capsys.readouterr().err


def test_a_name_longer_than_a_key_is_told(capsys):
    folder = Path('long', *['f' * 200] * 3)
    folder.mkdir(parents=True)
    shutil.copy('in/0.png', folder / 'a.png')
    assert run('long') == 2
    assert 'a.png: the name is longer than the 511 bytes of an LMDB key; shorten it' in capsys.readouterr().err


def test_a_name_that_no_list_can_hold_is_told(capsys):
    for name in (' space', 'two\nlines'):
        save_image(f'in/{name}.png', image(1))
    assert run() == 2
    said = capsys.readouterr().err
    assert 'in/ space.png: meta_info.txt cannot contain' in said and 'lines.png: meta_info.txt cannot contain' in said


def test_a_full_disk_is_told(monkeypatch, capsys):
    monkeypatch.setattr(lmdb_writer, 'BATCH', 2**60)
    assert run() == 2
    assert 'out.lmdb.part: No space left on device; free some space on that disk' in capsys.readouterr().err
