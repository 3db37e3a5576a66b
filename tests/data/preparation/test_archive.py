import io
import tarfile
import tracemalloc
import zipfile

import pytest

from aesop.data.preparation import archive
from aesop.data.preparation.archive import open_images
from aesop.errors import UserError


def make_zip(path, members, **modes):
    with zipfile.ZipFile(path, 'w') as file:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = modes.get(name, 0o100644) << 16
            file.writestr(info, content)
    return path


def make_tar(path, members, mode='w', **kinds):
    with tarfile.open(path, mode) as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.type, info.size = kinds.get(name, tarfile.REGTYPE), len(content)
            info.linkname = '/etc/passwd' if name in kinds else ''
            file.addfile(info, io.BytesIO(content))
    return path


GOOD = {'set/HR/b.png': b'bb', 'set/HR/ü ö.JPG': b'aa', 'set/notes.txt': b'x', 'set/HR/.hidden.png': b'h'}


@pytest.mark.parametrize('kind', ['folder', 'zip', 'tar', 'tar.gz'])
def test_the_images_of_folders_and_archives(tmp_path, kind):
    path = tmp_path / f'set.{kind}'
    if kind == 'folder':
        for name, content in GOOD.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    elif kind == 'zip':
        make_zip(path, {'set/': b'', **GOOD, '__MACOSX/._b.png': b'm'})
    else:
        make_tar(path, GOOD, 'w:gz' if kind == 'tar.gz' else 'w')
    with open_images(path) as members:
        assert {member.name: member.read() for member in members} == {'set/HR/b.png': b'bb', 'set/HR/ü ö.JPG': b'aa'}


@pytest.mark.parametrize('make', [make_zip, make_tar])
@pytest.mark.parametrize(
    ('name', 'why'),
    [
        ('../x.png', 'points outside the folder'),
        ('set/../../x.png', 'points outside the folder'),
        ('/tmp/x.png', 'has an absolute path'),
        ('C:/x.png', 'has an absolute path'),
        ('../readme.txt', 'points outside the folder'),  # also where it is nothing that would be used
    ],
)
def test_an_archive_that_leads_elsewhere_is_refused(tmp_path, make, name, why):
    path = make(tmp_path / 'set.archive', {**GOOD, name: b'!'})
    with (
        pytest.raises(UserError, match='this archive is rejected and nothing of it was used') as error,
        open_images(path),
    ):
        pass
    assert f'{name!a} {why}' in str(error.value)


def test_a_zip_with_backslashes_leads_elsewhere_too(tmp_path):
    path = make_zip(tmp_path / 'set.zip', {'set\\a.png': b'a', '..\\x.png': b'x'})
    with pytest.raises(UserError, match=r"'\.\./x\.png' points outside the folder"), open_images(path):
        pass


@pytest.mark.parametrize('kind', [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_tar_with_links_or_devices_is_refused(tmp_path, kind):
    path = make_tar(tmp_path / 'set.tar', {**GOOD, 'x.png': b''}, **{'x.png': kind})
    with pytest.raises(UserError, match="'x.png' is a link or a device"), open_images(path):
        pass


@pytest.mark.parametrize('mode', [0o120777, 0o020644, 0o060644, 0o010644])  # link, character and block device, pipe
def test_a_zip_with_links_or_devices_is_refused(tmp_path, mode):
    path = make_zip(tmp_path / 'set.zip', {**GOOD, 'x.png': b'/etc/passwd'}, **{'x.png': mode})
    with pytest.raises(UserError, match="'x.png' is a link or a device"), open_images(path):
        pass


def test_absurd_sizes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, 'LARGEST', 1000)
    path = tmp_path / 'set.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
        file.writestr('a.png', bytes(1001))
    with pytest.raises(UserError, match="'a.png' has 1e-06 GB"), open_images(path):
        pass
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
        for n in range(100):
            file.writestr(f'{n}.png', bytes(1000))
    monkeypatch.setattr(archive, '_RATIO', 2)
    with pytest.raises(UserError, match='GB would unpack to .* GB or more'), open_images(path):
        pass


def test_a_bomb_is_not_unpacked_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, 'LARGEST', 10_000)
    path = make_tar(tmp_path / 'set.tar.gz', {f'{n}.png': bytes(6000) for n in range(1000)}, 'w:gz')
    seen = []
    monkeypatch.setattr(archive, '_unsafe', lambda member: seen.append(member.name))
    with pytest.raises(UserError, match='would unpack to'), open_images(path):
        pass
    assert len(seen) < 100


def test_no_more_than_a_zip_announces_is_unpacked(tmp_path):
    path = tmp_path / 'set.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
        file.writestr('a.png', bytes(50 * 2**20))
    path.write_bytes(path.read_bytes().replace((50 * 2**20).to_bytes(4, 'little'), (1000).to_bytes(4, 'little')))
    with open_images(path) as (member,):
        tracemalloc.start()
        with pytest.raises(UserError, match='damaged'):
            member.read()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert most < 5 * 2**20


@pytest.mark.parametrize('name', ['set/HR/b\0c.png', 'set/HR/b\n../c.png', 'set/HR/\x1b[31mb.png'])
def test_names_with_control_characters_are_refused(tmp_path, name):
    path = tmp_path / 'set.tar'
    with tarfile.open(path, 'w', format=tarfile.PAX_FORMAT) as file:
        info = tarfile.TarInfo('b.png')
        info.pax_headers = {'path': name}
        file.addfile(info)
    with pytest.raises(UserError, match='contains control characters|points outside') as error, open_images(path):
        pass
    assert f'{name!a}' in str(error.value)


def test_all_offenders_are_named_but_not_thousands(tmp_path):
    path = make_tar(tmp_path / 'set.tar', {f'../{n}.png': b'' for n in range(30)})
    with pytest.raises(UserError, match=r"'\.\./9\.png' points outside .*; and 20 more") as error, open_images(path):
        pass
    assert "'../10.png'" not in str(error.value)


def test_damaged_and_other_files_are_told(tmp_path):
    text = tmp_path / 'set.zip'
    text.write_bytes(b'<html>404 Not Found</html>' * 100)
    with pytest.raises(UserError, match='set.zip: not a readable zip or tar archive') as error, open_images(text):
        pass
    assert '\n' not in str(error.value)
    with pytest.raises(UserError, match='folder or archive not found'), open_images(tmp_path / 'nothing'):
        pass
    with (
        pytest.raises(UserError, match='contains no images'),
        open_images(make_zip(tmp_path / 'x.zip', {'a.txt': b'x'})),
    ):
        pass
    for name, cut in (('cut.tar', 700), ('cut.tar.gz', -40)):
        path = make_tar(tmp_path / name, {'a.png': bytes(range(256)) * 20}, 'w:gz' if 'gz' in name else 'w')
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(UserError, match=f'{name}.*damaged'), open_images(path) as members:
            for member in members:
                member.read()


def test_a_member_that_does_not_match_its_checksum_is_told(tmp_path):
    path = make_zip(tmp_path / 'set.zip', {'a.png': b'a' * 100, 'b.png': b'b' * 100})
    path.write_bytes(path.read_bytes().replace(b'a' * 100, b'a' * 99 + b'!'))
    with open_images(path) as (a, b):
        assert b.read() == b'b' * 100
        with pytest.raises(UserError, match='set.zip: a.png: .*damaged.*CRC'):
            a.read()
