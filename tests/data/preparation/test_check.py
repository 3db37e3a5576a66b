import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from aesop.data import build_dataset
from aesop.data.preparation.check import ALIKE, describe, fingerprint, overview, shared
from aesop.options import load_options
from aesop.utils.images import list_images, read_image, save_image
from aesop.utils.imresize import imresize
from tests.commands import command
from tests.golden import GOLDEN

main = command('check')

PHOTOGRAPHS = GOLDEN / '../data'


def photograph(seed, height=48, width=64):
    """Smooth noise of many sizes, as different from seed to seed as photographs are."""
    rng, image = np.random.default_rng(seed), np.zeros((height, width, 3))
    for size in (2, 4, 8, 16, 32):
        image += cv2.resize(rng.normal(0, 1, (size, size, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
    return (255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)


@pytest.fixture(autouse=True)
def options(tmp_path, monkeypatch):
    """Six training images, two other pairs to validate on, and the option file that names them."""
    monkeypatch.chdir(tmp_path)
    for n in range(8):
        save_image(f'{"train" if n < 6 else "hr"}/{n}.png', photograph(n))
        if n >= 6:
            save_image(f'lr/{n}.png', imresize(photograph(n), 0.25))
    train = {'name': 'photos', 'type': 'BicubicImageDataset', 'dataroot_gt': 'train', 'gt_size': 16}
    val = {'name': 'pairs', 'type': 'PairedImageDataset', 'dataroot_gt': 'hr', 'dataroot_lq': 'lr'}
    block = {'scale': 4, 'datasets': {'train': train, 'val': val}}
    Path('opt.yml').write_text(yaml.safe_dump(block))
    return block


def run(*arguments, file='opt.yml'):
    return main(['-opt', file, '--workers', '1', *arguments])


def test_good_sets_are_described_and_drawn(capsys):
    save_image('train/grey.png', photograph(9)[:16, :16].astype(np.uint16) * 256)
    cv2.imwrite('train/0.png', photograph(0)[..., 0])
    assert run() == 0
    said = capsys.readouterr().out
    assert 'datasets.train: BicubicImageDataset "photos": 7 images, height x width gt 16x16 to 48x64 ' in said
    assert '5 PNG RGB, 1 PNG L, 1 PNG RGB 16 bits' in said
    assert 'datasets.val: PairedImageDataset "pairs": 2 images, height x width gt 48x64 (2 PNG RGB); lq 12x16 ' in said
    assert said.endswith('no problems found\n')
    assert Path('results/check/opt/train.png').exists() and Path('results/check/opt/val.png').exists()


def test_the_picture_shows_the_samples_of_the_run():
    options = load_options('opt.yml')
    normalised = {**options.datasets['train'], 'mean': [0.4, 0.5, 0.6], 'std': [0.5, 0.25, 0.2], 'cache': 'disk'}
    picture = overview(build_dataset(normalised, scale=4, seed=0), options)
    dataset = build_dataset(options.datasets['train'], scale=4, seed=0)
    assert picture.shape == (4 * 20, 2 * 36, 3)
    for n in range(8):
        top, left = n // 2 * 20, n % 2 * 36
        lq, gt = ((dataset[n][key].permute(1, 2, 0).numpy() * 255).round() for key in ('lq', 'gt'))
        assert np.array_equal(picture[top : top + 16, left + 16 : left + 32], gt)
        assert np.array_equal(picture[top : top + 16, left : left + 16], lq.repeat(4, 0).repeat(4, 1))
    assert not Path('datasets').exists()  # no cache was built for it


def test_pictures_of_whole_images_luma_and_degraded_ones(options):
    for n in (6, 7):
        save_image(f'hr/{n}.png', np.tile(photograph(n), (7, 1, 1)))
        save_image(f'lr/{n}.png', np.tile(imresize(photograph(n), 0.25), (7, 1, 1)))
    opened = load_options('opt.yml', ['datasets.val.color=y'])
    picture = overview(build_dataset(opened.datasets['val'], scale=4, name='val'), opened)
    assert picture.shape == (260, 2 * (64 + 64 + 4), 3)
    grey = picture[:256, 64:128]
    assert (grey == grey[..., :1]).all()
    options['datasets'] = {'test': {'type': 'SingleImageDataset', 'dataroot_lq': 'lr'}}
    opened = load_options(options)
    assert overview(build_dataset(opened.datasets['test'], scale=4), opened).shape == (84, 32, 3)
    options['datasets'] = {
        'train': {'type': 'RealESRGANDataset', 'dataroot_gt': 'train', 'gt_size': 16, 'crop_size': 32}
    }
    options |= {'gt_size': 16, 'queue_size': 8}
    opened = load_options(options)
    picture = overview(build_dataset(opened.datasets['train'], scale=4, seed=0), opened)
    assert picture.shape == (80, 72, 3) and picture[:16, :32].std() > 1


def test_all_that_is_wrong_comes_in_one_list(capsys):
    Path('train/empty.png').write_bytes(b'')
    Path('train/text.png').write_text('no image')
    Path('train/cut.png').write_bytes(Path('train/0.png').read_bytes()[:-200])
    save_image('train/pixel.png', photograph(1)[:1, :1])
    save_image('lr/6.png', photograph(1))
    shutil.copy('hr/7.png', 'train/copy.png')
    assert run() == 2
    said = capsys.readouterr().err
    for expected in (
        'datasets.train: train/empty.png: ',
        'datasets.train: train/text.png: ',
        'datasets.train: train/cut.png: ',
        'datasets.train: train/pixel.png: 1x1 pixels (height x width) is smaller than the gt_size of 16',
        'datasets.val: lr/6.png: 48x64 pixels (height x width) is not 1/4 of the 48x64 of hr/6.png',
        'train/copy.png: the same picture as hr/7.png of datasets.val (similarity 1.00)',
    ):
        assert said.count(expected) == 1, expected
    assert said.endswith('aesop check: 6 problems\n')


def test_offenders_are_not_left_out_of_a_long_list(capsys):
    for n in range(30):
        Path(f'train/empty{n}.png').write_bytes(b'')
        save_image(f'lr/alone{n}.png', photograph(n)[:12, :16])
    assert run() == 2
    said = capsys.readouterr().err
    assert all(f'train/empty{n}.png: ' in said and f'lr/alone{n}.png: hr has no image' in said for n in range(30))


def test_full_finds_damage_that_only_decoding_shows(options, capsys):
    options['datasets'] = {'test': {'type': 'SingleImageDataset', 'dataroot_lq': 'lr'}}
    Path('opt.yml').write_text(yaml.safe_dump(options))
    for n in range(8, 30):
        save_image(f'lr/{n}.png', photograph(n, 12, 16))
    data = bytearray(Path('lr/29.png').read_bytes())  # the picture shows the first images only
    middle = data.index(b'IDAT') + 4
    data[middle : middle + 40] = bytes(40)
    Path('lr/29.png').write_bytes(bytes(data))
    assert run() == 0 and run('--full') == 2
    assert 'lr/29.png: the file is not an 8- or 16-bit image, or is damaged' in capsys.readouterr().err


def test_option_files_are_compared_with_each_other(options, capsys):
    shutil.copy('train/2.png', 'hr/other.png')
    save_image('lr/other.png', imresize(photograph(2), 0.25))
    val = options['datasets'].pop('val')
    Path('train.yml').write_text(yaml.safe_dump(options))
    Path('test.yml').write_text(yaml.safe_dump({**options, 'datasets': {'test_1': val}}))
    assert run(file='train.yml') == 0 and run(file='test.yml') == 0
    assert main(['-opt', 'train.yml', 'test.yml', '--workers', '1']) == 2
    assert 'train/2.png: the same picture as hr/other.png of test.yml: datasets.test_1' in capsys.readouterr().err


def test_copies_are_known_and_others_are_not():
    images = [photograph(n, 96, 144) for n in range(40)]
    prints = np.stack([fingerprint(image) for image in images])
    assert np.allclose((prints**2).sum(1), 1)
    others = prints @ prints.T - np.eye(len(images))
    assert others.max() < 0.6
    for copy in (half, jpeg, cropped, brighter):
        likeness = [print_ @ fingerprint(copy(image)) for print_, image in zip(prints, images)]
        assert min(likeness) > ALIKE, copy.__name__
    assert np.isfinite(fingerprint(np.full((1, 1, 3), 7, np.uint8))).all()


def half(image):
    return imresize(image, 0.5)


def jpeg(image):
    return cv2.imdecode(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR)


def cropped(image):
    """As 321x481 pixels lose when they are cropped to a multiple of 12: 3 of 96 and none of 144 pixels."""
    return image[:-3]


def brighter(image):
    return np.clip(image * 1.15 + 5, 0, 255).astype(np.uint8)


def test_the_same_files_are_told_without_decoding():
    block = {'type': 'SingleImageDataset', 'dataroot_lq': 'hr'}
    Path('link').symlink_to('hr')
    one, other = build_dataset(block), build_dataset({**block, 'dataroot_lq': 'link'})
    assert shared(one, other) == [Path('link/6.png'), Path('link/7.png')]
    assert shared(one, build_dataset({**block, 'dataroot_lq': 'train'})) == []
    Path('hr/6.png').write_bytes(b'no image')
    assert '2 images, height x width lq 48x64 (1 PNG RGB)' in describe(one)
    some = build_dataset({**block, 'dataroot_lq': 'train'})
    assert '6 images, height x width of 2 of them lq 48x64 (2 PNG RGB)' in describe(some, 2)


def test_the_command():
    Path('hr/6.png').unlink()
    command = [sys.executable, '-W', 'error::RuntimeWarning', '-m', 'aesop', 'check', '-opt', 'opt.yml']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert 'aesop check: datasets.val: lr/6.png: hr has no image for it' in done.stderr


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason='the folder of real photographs is not there')
def test_real_photographs():
    """One of the 400 is a larger version of an image of Set5; all other pairs are told apart."""
    training = list_images(PHOTOGRAPHS / 'BSDS400')
    tests = [path for name in ('Set5', 'Set14') for path in list_images(PHOTOGRAPHS / name / 'HR')]
    prints = np.stack([fingerprint(read_image(path)) for path in training])
    likeness = np.stack([fingerprint(read_image(path)) for path in tests]) @ prints.T
    found = [(tests[t].stem, training[m].stem) for t, m in np.argwhere(likeness > ALIKE)]
    assert found == [('img_005', 'train_302003')]
    assert np.sort(likeness.ravel())[-2] < 0.6


def test_full_finds_a_jpeg_that_was_cut_and_ends_as_it_should(capsys):
    data = cv2.imencode('.jpg', photograph(0, 64, 64))[1].tobytes()
    Path('train/0.png').unlink()
    Path('train/0.jpg').write_bytes(data[: len(data) // 2] + b'\xff\xd9')
    assert run('--full') == 2
    assert (
        'train/0.jpg: the file is damaged (Corrupt JPEG data: premature end of data segment)' in capsys.readouterr().err
    )


def test_full_decodes_references_too(options, capsys):
    options['datasets']['train'] |= {'ref': 'folder', 'dataroot_ref': 'ref', 'ref_size': 16}
    Path('opt.yml').write_text(yaml.safe_dump(options))
    data = cv2.imencode('.jpg', photograph(1, 64, 64))[1].tobytes()
    for n in range(20):
        save_image(f'ref/{n}.png', photograph(n, 20, 20))
    Path('ref/cut.jpg').write_bytes(data[: len(data) // 2] + b'\xff\xd9')
    assert run('--full') == 2
    assert 'ref/cut.jpg: the file is damaged (Corrupt JPEG data: ' in capsys.readouterr().err
    Path('ref/cut.jpg').unlink()
    assert run('--full') == 0


@pytest.mark.parametrize('damage', ['flipped', 'cut', 'zero', 'empty', 'text', 'fifo', 'bomb'])
def test_full_names_every_kind_of_damage(damage, options, capsys):
    options['datasets'] = {'test': {'type': 'SingleImageDataset', 'dataroot_lq': 'lr'}}
    Path('opt.yml').write_text(yaml.safe_dump(options))
    data = cv2.imencode('.png', photograph(1, 64, 64))[1].tobytes()
    middle = len(data) // 2
    header = struct.pack('>IIBBBBB', 30_000, 30_000, 8, 2, 0, 0, 0)
    content = {
        'flipped': data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :],
        'cut': data[:middle],
        'zero': bytes(1000),
        'empty': b'',
        'text': b'<html>404 Not Found</html>',
        'bomb': data[:16] + header + struct.pack('>I', zlib.crc32(b'IHDR' + header)) + data[33:],
    }
    if damage == 'fifo':
        os.mkfifo('lr/bad.png')
    else:
        Path('lr/bad.png').write_bytes(content[damage])
    assert run('--full') == 2
    assert 'lr/bad.png: ' in capsys.readouterr().err
