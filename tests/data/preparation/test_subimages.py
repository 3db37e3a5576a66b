import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from aesop.utils.images import read_image, save_image
from tests.commands import command

main = command('subimages')


def image(seed, height, width, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (height, width, 3), dtype=dtype)


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_image('in/a.png', image(1, 20, 27))
    save_image('in/more/b.png', image(2, 16, 16, np.uint16))


def run(*arguments, folder='in', out='out'):
    return main([folder, out, '--crop-size', '8', '--step', '4', '--workers', '1', *arguments])


def content(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob('*') if path.is_file()}


def test_the_squares_have_the_images_pixels_row_by_row(capsys):
    assert run() == 0
    tops, lefts = [0, 4, 8, 12], [0, 4, 8, 12, 16, 19]  # the last one flush with the border
    for n, (top, left) in enumerate(((top, left) for top in tops for left in lefts), 1):
        square = read_image(f'out/a_s{n:03d}.png')
        assert np.array_equal(square, image(1, 20, 27)[top : top + 8, left : left + 8])
    assert np.array_equal(read_image('out/more/b_s009.png'), image(2, 16, 16, np.uint16)[8:, 8:])
    assert 'out: 33 sub-images of 2 images' in capsys.readouterr().out
    lines = Path('out/meta_info.txt').read_text().splitlines()
    assert (len(lines), lines[0], lines[-1]) == (33, 'a_s001.png (8,8,3)', 'more/b_s009.png (8,8,3)')


def test_a_border_within_the_threshold_is_left_out():
    assert run('--thresh-size', '3') == 0
    assert len(list(Path('out').glob('a_s*'))) == 4 * 5


def test_pairs_keep_their_names():
    for path in ('in/a.png', 'in/more/b.png'):
        name = Path('lr', *Path(path).parts[1:])
        save_image(name.with_name(f'{name.stem}x2.png'), read_image(path)[::2, ::2])
    assert run() == 0
    assert main(['lr', 'out_lr', '--crop-size', '4', '--step', '2', '--strip', 'x2', '--workers', '1']) == 0
    hr, lr = ({path.relative_to(out) for path in Path(out).rglob('*.png')} for out in ('out', 'out_lr'))
    assert hr == lr


def kill_at(step, count, event, _):
    if event == 'os.rename' and next(count) == step:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_kill_at_any_file_and_a_second_start_give_the_same(capsys):
    assert run() == 0
    reference = {str(path)[4:]: data for path, data in content('out').items()}
    for step in (0, 1, 10, 25, 32, 33):
        shutil.rmtree('out')
        child = os.fork()
        if not child:
            sys.addaudithook(partial(kill_at, step, iter(range(100))))
            os._exit(run())
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert run() == 0
        assert {str(path)[4:]: data for path, data in content('out').items()} == reference


def test_only_what_changed_is_cut_again():
    assert run() == 0
    times = {path: path.stat().st_mtime_ns for path in Path('out').rglob('*.png')}
    save_image('in/more/b.png', image(3, 16, 16))
    Path('out/a_s002.png').unlink()
    os.utime('in/more/b.png', ns=(1, 1))
    assert run() == 0
    assert np.array_equal(read_image('out/more/b_s001.png'), image(3, 16, 16)[:8, :8])
    assert np.array_equal(read_image('out/a_s002.png'), image(1, 20, 27)[:8, 4:12])
    assert {path for path in times if path.stat().st_mtime_ns == times[path]} == set()
    times = {path: path.stat().st_mtime_ns for path in Path('out').rglob('*.png')}
    assert run() == 0
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


def test_bad_images_are_named_and_the_others_cut(capsys):
    Path('in/empty.png').write_bytes(b'')
    Path('in/text.png').write_text('no image')
    Path('in/cut.png').write_bytes(Path('in/a.png').read_bytes()[:-100])
    save_image('in/pixel.png', image(1, 1, 1))
    shutil.copy('in/a.png', f'in/{"n" * 251}.png')
    shutil.copy('in/a.png', 'in/ä 日本.png')
    assert run() == 2
    said = capsys.readouterr().err
    for expected in (
        'in/empty.png: the file is empty',
        'in/text.png: the file is not an',
        'in/cut.png: the file is not an',
        'in/pixel.png: 1x1 pixels (height x width) is smaller than the crop size of 8',
        'this name is too long for the file system',
        'the other images are done; repair or remove these, then run the command again',
    ):
        assert said.count(expected) == 1, expected
    assert len(list(Path('out').glob('ä 日本_s*.png'))) == 24 and not Path('out/meta_info.txt').exists()


def test_mistakes_are_told(capsys):
    Path('mine').mkdir()
    Path('mine/notes.txt').touch()
    Path('in/a.jpg').write_bytes(Path('in/a.png').read_bytes())
    for arguments, expected in [
        ({'folder': 'nowhere'}, 'nowhere: folder not found'),
        ({'out': 'in/sub'}, 'in/sub is inside in and would be cut too'),
        ({'out': 'mine'}, 'mine contains files that this command did not make'),
        ({}, 'in: images have the same name apart from --strip and the extension'),
    ]:
        assert run(**arguments) == 2
        assert expected in capsys.readouterr().err
    assert run('--step', '0') == 2
    Path('in/a.jpg').unlink()
    assert run() == 0 and run('--crop-size', '12') == 2
    assert 'images that do not come from in with these settings' in capsys.readouterr().err
