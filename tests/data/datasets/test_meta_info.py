import pytest

from aesop.data.datasets.meta_info import read_meta_info
from aesop.errors import UserError


@pytest.mark.parametrize(
    'line, names',
    [
        ('a.png', ('a.png',)),
        ('a.png (480,480,3)', ('a.png',)),
        ('sub/a.png (480, 480, 3) 1', ('sub/a.png',)),
        ('a.png something else', ('a.png',)),
        ('two words.png (4,5,3)', ('two words.png',)),
        ('hr/a.png, lr/a.png', ('hr/a.png', 'lr/a.png')),
        ('Müller, Köln.JPG (4,5,3) 9', ('Müller, Köln.JPG',)),
        ('a (1).png', ('a (1).png',)),
        ('0001_s001', ('0001_s001',)),
    ],
)
def test_lines(tmp_path, line, names):
    (tmp_path / 'meta.txt').write_text(f'\ufeff{line}\r\n\n  \n', encoding='utf-8')
    assert read_meta_info(tmp_path / 'meta.txt') == [names]


def test_mistakes(tmp_path):
    meta = tmp_path / 'meta.txt'
    with pytest.raises(UserError, match='meta.txt: file not found'):
        read_meta_info(meta)
    meta.write_bytes(b'\xff\xfe\x00a')
    with pytest.raises(UserError, match='cannot be read as a list of images'):
        read_meta_info(meta)
    meta.write_text('\n\n')
    with pytest.raises(UserError, match='lists no images'):
        read_meta_info(meta)
