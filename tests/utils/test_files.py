"""Files that are there whole or not at all, and locks."""

import os
from pathlib import Path

import pytest

from aesop.errors import UserError
from aesop.utils.files import atomic, lock, write_text


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / 'folder' / ('ä' * 125 + '.png')  # 254 bytes
    with pytest.raises(RuntimeError), atomic(path, suffixed=True) as part:
        part.write_bytes(b'half')
        raise RuntimeError
    assert not list(path.parent.iterdir())
    with atomic(path, suffixed=True) as part:
        assert part.suffix == '.png' and part.name.startswith('.')
        part.write_bytes(b'whole')
    assert [file.read_bytes() for file in path.parent.iterdir()] == [b'whole'] and path.exists()
    with pytest.raises(OSError) as error, atomic(path) as part:
        raise OSError(28, 'No space left on device')
    assert error.value.filename == str(path)
    with (
        pytest.raises(UserError, match='this name is too long'),
        atomic(path.with_name(f'long{path.name}')) as part,
    ):
        part.write_bytes(b'')


def test_a_text_replaces_the_one_before(tmp_path):
    path = tmp_path / 'a.txt'
    assert write_text(path, 'one\n') == path
    write_text(path, 'zwei ä\n')
    assert path.read_bytes() == 'zwei ä\n'.encode() and list(tmp_path.iterdir()) == [path]


def test_a_lock_is_for_one_process_and_ends_with_its_handle(tmp_path):
    path = tmp_path / 'folder/.lock'
    with lock(path, 'busy'), pytest.raises(UserError, match='busy'):
        lock(path, 'busy')
    lock(path, 'busy').close()


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_a_child_does_not_hold_the_lock(tmp_path):
    handle = lock(tmp_path / '.lock', 'busy')
    (started, starts), (ends, end) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(starts, b'x')
        os.close(end)
        os.read(ends, 1)  # it lives until the other process is done with the lock
        os._exit(0)
    try:
        os.read(started, 1)
        handle.close()
        lock(tmp_path / '.lock', 'busy').close()
    finally:
        os.close(end)
        assert os.waitpid(child, 0)[1] == 0


def test_without_locks_nothing_is_locked(tmp_path, monkeypatch):
    for module in ('fcntl', 'msvcrt'):
        monkeypatch.setitem(__import__('sys').modules, module, None)
    with lock(Path(tmp_path / '.lock'), 'busy'):
        lock(tmp_path / '.lock', 'busy').close()
