import hashlib
import re
from pathlib import Path

import pytest
import torch

from aesop.archs import build_network
from aesop.errors import UserError
from aesop.utils import checkpoint
from tests.commands import command

main = command('download')

FOLDER = Path('experiments/pretrained_models')
NET = {'type': 'RRDBNet', 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4}


@pytest.fixture
def entry(server, tmp_path, monkeypatch):
    """A manifest of one file, which the server has."""
    torch.save({'params': build_network(NET).state_dict()}, 'source.pth')
    content = Path('source.pth').read_bytes()
    name = f'tiny-{hashlib.sha256(content).hexdigest()[:8]}.pth'
    server.served[f'/{name}'] = content
    entry = {'file': name, 'purpose': 'a test', 'licence': 'CC0', 'unverified': True}
    entry['url'] = f'http://127.0.0.1:{server.server_port}/{name}'
    manual = {'file': 'manual.pth', 'purpose': 'a test', 'licence': 'CC0', 'page': 'https://example.org/zoo'}
    monkeypatch.setattr(checkpoint, 'manifest', lambda: {'tiny': entry, 'by_hand': manual})
    return entry


def test_a_file_is_fetched_once_and_found_by_its_name(server, entry, capsys):
    with pytest.raises(UserError, match=r'tiny: file .* not found; .*aesop download tiny`'):
        checkpoint.load('tiny')
    assert main(['tiny']) == 0
    said = capsys.readouterr().out
    digest = hashlib.sha256(server.served[f'/{entry["file"]}']).hexdigest()
    assert f'sha256 {digest} (as published)' in said and 'unverified' in said and 'CC0' in said
    assert [path.name for path in FOLDER.iterdir()] == [entry['file']]
    checkpoint.load_network(build_network(NET), 'tiny')
    assert main(['tiny']) == 0
    assert 'exists; sha256' in capsys.readouterr().out
    assert len(server.ranges) == 1


@pytest.mark.parametrize('knows_ranges', [True, False])
def test_a_cut_download_goes_on_where_it_stopped(server, entry, capsys, knows_ranges):
    server.limit, server.knows_ranges = 1000, knows_ranges
    assert main(['tiny']) == 2
    size = len(server.served[f'/{entry["file"]}'])
    assert f'was interrupted after 1000 of {size} bytes. Run the same command again' in capsys.readouterr().err
    assert [path.name for path in FOLDER.iterdir()] == [f'{entry["file"]}.part']
    server.limit = None
    assert main(['tiny']) == 0
    assert server.ranges == [None, 'bytes=1000-']
    assert [path.name for path in FOLDER.iterdir()] == [entry['file']]
    assert (FOLDER / entry['file']).read_bytes() == server.served[f'/{entry["file"]}']


def test_a_download_that_stopped_just_before_its_end_is_taken(server, entry):
    FOLDER.mkdir(parents=True)
    (FOLDER / f'{entry["file"]}.part').write_bytes(server.served[f'/{entry["file"]}'])
    assert main(['tiny']) == 0
    assert (FOLDER / entry['file']).is_file()


def test_another_file_is_refused_and_not_kept(server, entry, capsys):
    right = server.served[f'/{entry["file"]}']
    server.served[f'/{entry["file"]}'] = right[:-1] + b'!'
    assert main(['tiny']) == 2
    assert f'not {entry["file"][5:13]}...: it is damaged, or a different file' in capsys.readouterr().err
    entry['sha256'] = '0' * 64  # counts more than the digits in the name
    server.served[f'/{entry["file"]}'] = right
    assert main(['tiny']) == 2
    assert 'not 0000' in capsys.readouterr().err
    assert not list(FOLDER.iterdir())


def test_without_a_hash_the_file_has_to_open(server, entry, capsys):
    entry['file'] = 'tiny.pth'
    (right,) = server.served.values()
    entry['url'] = f'http://127.0.0.1:{server.server_port}/tiny.pth'
    server.served['/tiny.pth'] = b'<html>please log in</html>'
    assert main(['tiny']) == 2
    assert 'tiny.pth.part is damaged' in capsys.readouterr().err
    assert not list(FOLDER.iterdir())
    server.served['/tiny.pth'] = right
    assert main(['tiny']) == 0
    assert 'no published hash to compare with' in capsys.readouterr().out


def test_a_damaged_file_that_is_there_is_told(entry, capsys):
    FOLDER.mkdir(parents=True)
    (FOLDER / entry['file']).write_bytes(b'something else')
    assert main(['tiny']) == 2
    assert 'Remove it and download it again' in capsys.readouterr().err


def test_a_dry_run_fetches_nothing(server, entry, capsys):
    assert main(['--dry-run']) == 0
    said = capsys.readouterr().out
    assert f'tiny: would download {entry["url"]} to {FOLDER / entry["file"]}' in said and 'unverified' in said
    assert f'by_hand: manual: get manual.pth from https://example.org/zoo and put it into {FOLDER}' in said
    assert not server.ranges and not FOLDER.exists()


def test_all_that_cannot_be_had_is_told_and_the_rest_fetched(server, entry, capsys):
    assert main([]) == 2
    assert 'by_hand: manual: get manual.pth' in capsys.readouterr().err
    assert (FOLDER / entry['file']).is_file()
    (FOLDER / entry['file']).unlink()
    server.served.clear()
    assert main(['tiny', 'tinny']) == 2
    said = capsys.readouterr().err
    assert 'HTTP Error 404' in said and 'there are no weights of that name. Did you mean "tiny"?' in said


def test_every_entry_of_the_manifest_is_complete():
    for name, entry in checkpoint.manifest().items():
        assert not {'file', 'purpose', 'licence'} - entry.keys() and ('url' in entry) != ('page' in entry), name
        assert entry.get('url', entry.get('page')).startswith('https://')
        assert 'url' not in entry or entry['url'].endswith(f'/{entry["file"]}')
        assert entry.get('unverified', True) is True and not Path(name).suffix


def test_the_manifest_has_what_the_option_files_name():
    options = Path(__file__).parents[2] / 'options'
    named = {name for path in options.rglob('*.yml') for name in re.findall(rf'{FOLDER}/([^\s,}}]+)', path.read_text())}
    assert named and named <= {entry['file'] for entry in checkpoint.manifest().values()}
