import json
import os
import re
import shutil
import signal
import sys
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from aesop.data import build_dataset
from aesop.data.preparation import prepare, sets
from aesop.data.preparation.parallel import cores
from aesop.utils.download import sha256
from aesop.utils.files import lock
from aesop.utils.images import read_image, save_image
from aesop.utils.imresize import imresize
from tests.commands import command
from tests.golden import GOLDEN

main = command('prepare')

SIZES = [(28, 37), (25, 24), (24, 52)]


def image(seed, height, width):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 0.8)


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    """Three images in source/Set5/HR, and LR images of somebody else's beside them."""
    monkeypatch.chdir(tmp_path)
    for n, size in enumerate(SIZES):
        save_image(f'source/Set5/HR/{n}.png', image(n, *size))
        save_image(f'source/Set5/LR_bicubic/X4/{n}x4.png', image(n, 6, 6))


def run(*arguments, source='source'):
    return main([*arguments, '--workers', '1', *(['--from', source] if source else [])])


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob('*') if path.is_file()}


def test_one_command_lays_out_a_benchmark(capsys):
    assert run('set5', '--scale', '2', '4') == 0
    folder = Path('datasets/Set5')
    for n, (height, width) in enumerate(SIZES):
        assert (folder / f'HR/{n}.png').read_bytes() == Path(f'source/Set5/HR/{n}.png').read_bytes()
        for scale in (2, 4):
            hr = image(n, height, width)[: height // scale * scale, : width // scale * scale]
            assert np.array_equal(read_image(folder / f'LRx{scale}/{n}.png'), imresize(hr, 1 / scale))
    said = capsys.readouterr().out
    assert (
        f'{folder}: 3 in HR, 3 in LRx2, 3 in LRx4' in said
        and 'Set5 was published with 5 images, this folder has 3' in said
    )
    assert (folder / 'meta_info.txt').read_text() == '0.png (28,37,3)\n1.png (25,24,3)\n2.png (24,52,3)\n'
    assert len(list(folder.rglob('*.png'))) == 9 and not list(folder.rglob('.*'))
    block = {'type': 'PairedImageDataset', 'dataroot_gt': str(folder / 'HR'), 'dataroot_lq': str(folder / 'LRx4')}
    dataset = build_dataset(block, scale=4)
    assert dataset.check() == [] and len(dataset) == 3


def test_the_manifest_says_how_each_file_was_made():
    assert run('Set5') == 0
    manifest = json.loads(Path('datasets/Set5/manifest.json').read_text())
    assert manifest['name'] == 'Set5' and [entry['file'] for entry in manifest['files']] == [
        f'{part}/{n}.png' for part in ('HR', 'LRx4') for n in range(3)
    ]
    for entry in manifest['files']:
        path = Path('datasets/Set5', entry['file'])
        assert (entry['size'], entry['sha256']) == (path.stat().st_size, sha256(path))
        assert entry['shape'] == list(read_image(path).shape)
        source = Path(entry['source'] if entry['made'] == 'copied' else f'datasets/Set5/{entry["source"]}')
        assert entry['source_sha256'] == sha256(source)
    assert {entry['made'] for entry in manifest['files']} == {'copied', "MATLAB's bicubic, 1/4"}


@pytest.mark.parametrize('kind', ['zip', 'tar', 'tar.gz'])
def test_an_archive_gives_the_same_as_a_folder(kind):
    assert run('Set5', '--root', 'a') == 0
    archive = f'benchmark.{kind}'
    if kind == 'zip':
        with zipfile.ZipFile(archive, 'w') as file:
            for path in Path('source').rglob('*.png'):
                file.write(path, Path('benchmark') / path.relative_to('source'))
    else:
        with tarfile.open(archive, 'w:gz' if 'gz' in kind else 'w') as file:
            file.add('source', 'benchmark')
    assert run('Set5', '--root', 'b', source=archive) == 0
    a, b = content('a/Set5'), content('b/Set5')
    assert a.pop(Path('manifest.json')) != b.pop(Path('manifest.json')) and a == b
    assert json.loads(Path('b/Set5/manifest.json').read_text())['archives'] == {archive: sha256(archive)}


def test_an_unsafe_archive_writes_nothing(capsys):
    with zipfile.ZipFile('evil.zip', 'w') as file:
        file.write('source/Set5/HR/0.png', 'Set5/HR/0.png')
        file.write('source/Set5/HR/1.png', '../../escaped.png')
    assert run('Set5', source='evil.zip') == 2
    assert (
        "evil.zip: this archive is rejected and nothing of it was used: '../../escaped.png'" in capsys.readouterr().err
    )
    assert not list(Path('datasets').rglob('*.png')) and not list(Path('..').rglob('escaped.png'))


def test_benchmarks_are_cropped_to_12_where_the_protocol_says_so():
    shutil.move('source/Set5', 'source/BSD100')
    assert run('BSD100') == 0
    for n, (height, width) in enumerate(SIZES):
        hr = image(n, height, width)[: height // 12 * 12, : width // 12 * 12]
        assert np.array_equal(read_image(f'datasets/BSD100/HR/{n}.png'), hr)
        assert np.array_equal(read_image(f'datasets/BSD100/LRx4/{n}.png'), imresize(hr, 0.25))


def test_several_sets_at_once_and_where_their_images_may_lie(capsys):
    shutil.copytree('source/Set5/HR', 'source/Set14')  # without a folder HR
    assert run('Set5', 'Set14') == 0
    assert {path.name for path in Path('datasets').iterdir()} == {'Set5', 'Set14', '.prepare.lock'}
    assert run('Set5', '--root', 'alone', source='source/Set5/HR') == 0
    assert run('Urban100', source='source') == 2
    said = capsys.readouterr().err
    assert (
        'Urban100: source: cannot tell which images belong to the data set; there are images in ' in said
        and 'Set5/LR_bicubic/X4 (3)' in said
    )
    assert run('Urban100', '--match', 'Set5/HR/*', '--root', 'other') == 0
    assert len(list(Path('other/Urban100/HR').iterdir())) == 3


def test_a_set_made_of_others(capsys):
    for part, number in (('DIV2K_train_HR', 1), ('Flickr2K_HR', 2)):
        save_image(f'parts/{part}/000{number}.png', image(number, 48, 36))
    save_image('parts/OutdoorSceneTrain_v2/sky/1.png', image(3, 20, 20))
    save_image('parts/OutdoorSceneTrain_v2/water/1.png', image(4, 20, 20))
    assert run('DF2K_OST', source='parts') == 0
    made = Path('datasets/DF2K_OST/multiscale')
    names = [f'000{n}{size}.png' for n in (1, 2) for size in ('', '_33', '_50', '_75')]
    assert sorted(str(path.relative_to(made)) for path in made.rglob('*.png')) == [*names, 'sky/1.png', 'water/1.png']
    assert (made / '0001.png').samefile('datasets/DF2K/HR/0001.png')
    assert (made / '0001.png').samefile('datasets/DIV2K/HR/0001.png')
    assert np.array_equal(read_image(made / '0002_75.png'), imresize(image(2, 48, 36), 0.75))
    assert read_image(made / '0001_33.png').shape == (16, 12, 3)
    assert not list(Path('datasets').glob('*/LR*'))  # training makes them on the fly
    before = content('datasets')
    assert run('DF2K_OST', source=None) == 0
    assert content('datasets') == before


def test_real_pairs_get_one_name():
    for camera in ('Canon', 'Nikon'):
        save_image(f'x/RealSR(V3)/{camera}/Test/4/{camera}_001_HR.png', image(1, 16, 16))
        save_image(f'x/RealSR(V3)/{camera}/Test/4/{camera}_001_LR4.png', image(2, 4, 4))
        save_image(f'x/RealSR(V3)/{camera}/Train/4/{camera}_001_LR4.png', image(2, 4, 4))
    assert run('RealSR', source='x') == 0
    files = [str(path.relative_to('datasets/RealSRv3')) for path in Path('datasets/RealSRv3').rglob('*.png')]
    assert sorted(files) == [f'{part}/{camera}_001.png' for part in ('HR', 'LRx4') for camera in ('Canon', 'Nikon')]


# Going on


def in_child(root, kill_at=None):
    """Prepares Set5 in another process, which kills itself at a step; how it ended, or how many steps there are.

    A step is opening a file for writing, renaming or removing one.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    steps = 0

    def watch(event, arguments):
        nonlocal steps
        if event in ('os.rename', 'os.remove') or (event == 'open' and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            if steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            steps += 1

    sys.addaudithook(watch)
    run('Set5', '--root', root)
    os._exit(steps)


def test_a_kill_at_any_step_and_a_second_start_give_the_same_bytes():
    steps = in_child('reference')
    assert 20 < steps < 60
    reference = content('reference/Set5')
    for step in range(1, steps, 2):
        assert in_child(f'killed{step}', step) == -signal.SIGKILL
        assert run('Set5', '--root', f'killed{step}') == 0
        assert content(f'killed{step}/Set5') == reference, step


def test_what_is_there_is_not_made_again_and_what_is_lost_or_damaged_is(monkeypatch, capsys):
    assert run('Set5') == 0
    before = content('datasets')
    written = []
    monkeypatch.setattr(prepare, 'save_image', lambda path, image: written.append(path) or save_image(path, image))
    assert run('Set5', source=None) == 0 and not written  # complete: needs neither the images nor a network
    Path('datasets/Set5/LRx4/1.png').unlink()
    assert run('Set5', source=None) == 0 and len(written) == 1
    Path('datasets/Set5/HR/0.png').write_bytes(Path('datasets/Set5/HR/1.png').read_bytes())
    Path('datasets/Set5/LRx4/2.png').write_bytes(b'')
    assert run('Set5') == 0 and len(written) == 2
    assert 'Set5/HR/0.png is missing or damaged' in capsys.readouterr().out
    assert content('datasets') == before
    assert run('Set5', '--scale', '3', source=None) == 0
    assert len(written) == 5 and len(list(Path('datasets/Set5/LRx3').iterdir())) == 3


def test_other_images_replace_those_of_before_only_in_a_set_that_is_not_complete(capsys):
    Path('source/Set5/HR/2.png').write_bytes(b'not an image')
    assert run('Set5') == 2
    assert not Path('datasets/Set5/manifest.json').exists()
    Path('source/Set5/HR/2.png').unlink()
    Path('source/Set5/HR/1.png').rename('source/Set5/HR/one.png')
    assert run('Set5') == 0
    assert sorted(path.name for path in Path('datasets/Set5').rglob('*.png')) == [
        '0.png',
        '0.png',
        'one.png',
        'one.png',
    ]
    save_image('source/Set5/HR/0.png', image(9, 24, 24))
    assert run('Set5') == 0
    assert 'complete; to make it from something else, remove this folder first' in capsys.readouterr().out
    assert np.array_equal(read_image('datasets/Set5/HR/0.png'), image(0, *SIZES[0]))


def test_a_file_of_the_user_is_not_overwritten(capsys):
    save_image('datasets/Set5/HR/1.png', image(9, 24, 24))
    mine = Path('datasets/Set5/HR/1.png').read_bytes()
    assert run('Set5') == 2
    assert 'datasets/Set5/HR/1.png differs from Set5/HR/1.png' in capsys.readouterr().err.replace('source/', '')
    assert Path('datasets/Set5/HR/1.png').read_bytes() == mine
    shutil.copy('source/Set5/HR/1.png', 'datasets/Set5/HR/1.png')
    assert run('Set5') == 0


def test_a_bad_manifest_is_told_and_nothing_outside_is_touched(capsys):
    assert run('Set5') == 0
    manifest = Path('datasets/Set5/manifest.json')
    before = manifest.read_text()
    for bad, expected in (
        (before[:-20], 'manifest.json: this manifest is damaged'),
        (before.replace('LRx4/0.png', '../../source/Set5/HR/0.png'), 'lists files outside this folder'),
    ):
        manifest.write_text(bad)
        assert run('Set5') == 2
        assert expected in capsys.readouterr().err
    assert Path('source/Set5/HR/0.png').exists()
    manifest.unlink()
    assert run('Set5') == 0 and manifest.read_text() == before


def test_two_at_once_are_told_apart(capsys):
    with lock(Path('datasets/.prepare.lock'), 'busy'):
        child = os.fork()
        if not child:
            os._exit(run('Set5'))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert not Path('datasets/Set5').exists()


# Bad files


def test_every_bad_image_is_named_and_the_others_are_kept(capsys):
    folder = Path('source/Set5/HR')
    (folder / 'truncated.png').write_bytes((folder / '0.png').read_bytes()[:-200])
    (folder / 'empty.png').write_bytes(b'')
    (folder / 'text.png').write_text('this is no image')
    save_image(folder / 'pixel.png', image(1, 1, 1))
    (folder / 'lost.png').symlink_to('nowhere.png')
    long, unicode = folder / ('n' * 251 + '.png'), folder / 'Bild ä 日本 #1.png'
    for path in (long, unicode):
        shutil.copy(folder / '0.png', path)
    assert run('Set5') == 2
    said = capsys.readouterr().err
    for name in ('truncated', 'empty', 'text', 'lost'):
        assert len(re.findall(rf'^aesop prepare: Set5: source/Set5/HR/{name}\.png: .*', said, re.M)) == 1
        (folder / f'{name}.png').unlink()
    assert (
        '6 images are in datasets/Set5; repair or remove these, then run the command again' in said
        and 'Traceback' not in said
    )
    assert run('Set5') == 2
    said = capsys.readouterr().err
    assert re.search(r'HR/pixel.png: 1x1 pixels \(height x width\) is smaller than 4; remove it', said)
    (folder / 'pixel.png').unlink()
    assert run('Set5') == 0
    for path in (long, unicode):
        assert np.array_equal(read_image(f'datasets/Set5/LRx4/{path.name}'), read_image('datasets/Set5/LRx4/0.png'))
    assert not Path('datasets/Set5/HR/pixel.png').exists()


def test_two_images_of_one_name_are_told(capsys):
    shutil.copy('source/Set5/HR/0.png', 'source/Set5/HR/0.PNG')
    assert run('Set5') == 2
    assert '2 images would be named HR/0' in capsys.readouterr().err


def test_mistakes_on_the_command_line(capsys):
    for arguments, expected in [
        ([], 'name a data set. Known: DIV2K, '),
        (['Set6', 'urban10'], 'unknown data set "Set6". Did you mean "Set5"?'),
        (['Set5', '--scale', '1'], '--scale must be at least 2'),
        (['Set5', '--from', 'nowhere'], 'nowhere: folder or archive not found'),
        (['Manga109'], 'this data set cannot be downloaded automatically: get it from http://www.manga109.org'),
        (['DF2K', '--from', 'source'], 'DF2K: datasets/DIV2K is not complete yet'),
    ]:
        assert main(arguments) == 2
        assert expected in capsys.readouterr().err, arguments


# Without --from


@pytest.fixture
def fetched(server, monkeypatch):
    """Makes Set5 come as a zip from this machine; its entry."""
    shutil.make_archive('benchmark', 'zip', 'source')
    server.served['/benchmark.zip'] = Path('benchmark.zip').read_bytes()
    known = sets.read_sources()
    known['Set5'] |= {'urls': [f'http://127.0.0.1:{server.server_port}/benchmark.zip'], 'size': 5000, 'images': 3}
    monkeypatch.setattr(sets, 'read_sources', lambda: known)
    return known['Set5']


@pytest.mark.parametrize('knows_ranges', [True, False])
def test_a_cut_download_goes_on_and_is_used_once(server, fetched, capsys, knows_ranges):
    whole = server.served['/benchmark.zip']
    server.limit, server.knows_ranges = 1000, knows_ranges
    assert run('Set5', source=None) == 2
    said = capsys.readouterr()
    assert f'was interrupted after 1000 of {len(whole)} bytes. Run the same command again to resume' in said.err
    assert 'unverified' in said.out and fetched['licence'] in said.out
    server.limit = None
    assert run('Set5', source=None) == 0
    assert server.ranges == [None, 'bytes=1000-']
    assert f'sha256 {sha256("benchmark.zip")} (no published hash to compare with)' in capsys.readouterr().out
    assert Path('datasets/downloads/benchmark.zip').read_bytes() == whole
    assert len(list(Path('datasets/Set5').rglob('*.png'))) == 6
    Path('datasets/downloads/benchmark.zip').unlink()
    assert run('Set5', source=None) == 0 and len(server.ranges) == 2
    shutil.copy('benchmark.zip', 'source')  # a browser's download is known by its name
    assert run('Set5', '--root', 'other') == 0
    assert json.loads(Path('other/Set5/manifest.json').read_text())['archives'] == {
        'benchmark.zip': sha256('benchmark.zip')
    }


def test_another_archive_than_the_known_one_is_refused(server, fetched, capsys):
    fetched['sha256'] = {'benchmark.zip': '0' * 64}
    assert run('Set5', source=None) == 2
    assert 'it is damaged, or a different file' in capsys.readouterr().err
    assert run('Set5', source='benchmark.zip') == 2  # also one that the user has
    assert 'benchmark.zip has the sha256' in capsys.readouterr().err and not Path('datasets/Set5').exists()
    assert not list(Path('datasets/downloads').iterdir())
    fetched['sha256'] = {'benchmark.zip': sha256('benchmark.zip')}
    assert run('Set5', source=None) == 0
    assert '(as published)' in capsys.readouterr().out


def test_what_does_not_fit_on_the_disk_is_not_begun(server, fetched, capsys):
    fetched['size'] = 1e18
    assert run('Set5', source=None) == 2
    assert 'about 2e+09 GB are needed' in capsys.readouterr().err and not server.ranges


def test_a_dry_run_lists_all_sets_and_does_nothing(server, capsys):
    assert main(['--dry-run']) == 0
    said = capsys.readouterr().out
    for name, entry in sets.read_sources().items():
        (about,) = re.findall(rf'^{name}: .*(?:\n    .*)*', said, re.M)
        assert entry['licence'] in about and f'{entry["images"]} images' in about
        assert entry['parts'] or 'unverified: not fetched through this project yet' in about
        assert all(url in about for url in entry['urls']) and entry.get('page', '') in about
    assert 'about 3.53 GB' in said and 'goes to datasets/BSD100/{HR,LRx4}, sides cropped to a multiple of 12' in said
    assert 'goes to datasets/DIV2K/{HR}' in said and 'goes to datasets/RealSRv3/{HR,LRx4}' in said
    assert not Path('datasets').exists()


def test_every_entry_is_complete():
    for name, entry in yaml.safe_load(sets.SOURCES.read_text()).items():
        assert entry.keys() >= {'about', 'use', 'images', 'licence'} and entry['use'] in (
            'training',
            'benchmark',
            'real',
        )
        assert sum(key in entry for key in ('urls', 'page', 'parts')) == 1, name
        assert all(url.startswith('https://') for url in entry.get('urls', ())), name
        assert 'parts' in entry or (entry['files'] and entry.get('unverified', True) is True), name


def test_the_option_files_find_their_data_where_it_is_put():
    root = Path(__file__).parents[2]
    named = set()
    for path in (root / 'options').rglob('*.yml'):
        named |= set(re.findall(r'dataroot_\w+: datasets/([\w-]+)/(\w+)', path.read_text()))
    known = sets.read_sources().values()
    made = {(entry['folder'], part) for entry in known for part in entry['taken']}
    made |= {(entry['folder'], 'LRx4') for entry in known if entry['use'] == 'benchmark'}
    assert {each for each in named if each[0] != 'demo'} <= made


@pytest.mark.skipif(not (GOLDEN / '../data').is_dir(), reason='the folder of real photographs is not there')
def test_the_distributed_lr_images_up_to_their_border():
    assert main(['Set5', 'Set14', '--from', str(GOLDEN / '../data'), '--workers', str(min(2, cores()))]) == 0
    for path in Path('datasets').glob('Set*/LRx4/*.png'):
        ours, theirs = read_image(path), read_image(GOLDEN / '../data' / path.relative_to('datasets'))
        assert np.array_equal(ours[2:-2, 2:-2], theirs[2:-2, 2:-2])
