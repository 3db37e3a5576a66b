from email.message import Message
from io import BytesIO
from urllib.error import HTTPError

import pytest

from aesop.errors import UserError
from aesop.utils import download
from aesop.utils.download import fetch, sha256

# Whole downloads, cut ones and those that go on are tested in test_weights.py


class Answer(BytesIO):
    def __init__(self, content, status, **headers):
        super().__init__(content)
        self.status, self.headers = status, Message()
        for name, value in headers.items():
            self.headers[name.replace('_', '-')] = value


def test_another_part_than_asked_for_is_not_taken(tmp_path, monkeypatch):
    path = tmp_path / 'x.part'
    path.write_bytes(b'abc')
    answer = Answer(b'cdef', 206, Content_Range='bytes 2-5/6', Content_Length='4')
    monkeypatch.setattr(download, 'urlopen', lambda *_, **__: answer)
    with pytest.raises(UserError, match='the server sent something else'):
        fetch('http://x/x', path)
    assert path.read_bytes() == b'abc'


def test_a_part_that_is_longer_than_the_file_is_told(tmp_path, monkeypatch):
    path = tmp_path / 'x.part'
    path.write_bytes(b'abc')
    headers = Message()
    headers['Content-Range'] = 'bytes */2'

    def refuse(request, timeout):
        assert request.get_header('Range') == 'bytes=3-'
        raise HTTPError('http://x/x', 416, 'Range Not Satisfiable', headers, None)

    monkeypatch.setattr(download, 'urlopen', refuse)
    with pytest.raises(UserError, match=r'x.part is larger than http://x/x is now; remove it'):
        fetch('http://x/x', path)
    headers.replace_header('Content-Range', 'bytes */3')
    fetch('http://x/x', path)
    assert path.read_bytes() == b'abc'


def test_sha256(tmp_path):
    (tmp_path / 'x').write_bytes(b'abc')
    assert sha256(tmp_path / 'x') == 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
