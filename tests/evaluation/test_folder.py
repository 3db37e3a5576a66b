import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from aesop.cli.runs import main as run
from aesop.evaluation.folder import matched
from aesop.utils.images import read_image, save_image
from aesop.utils.imresize import imresize
from tests.commands import command
from tests.tiny import backbones  # noqa: F401  (a fixture)

evaluate = command('evaluate')

ROOT = Path(__file__).parents[2]
METRICS = {
    'psnr': {'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': True},
    'ssim': {'type': 'calculate_ssim', 'crop_border': 4, 'test_y_channel': True},
    'lr_psnr': {'type': 'LRPSNR', 'scale': 4},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three pairs, and the results of test.py on them as another method would leave them."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, (height, width) in {'baby': (72, 80), 'bird': (75, 66), 'baby_2': (64, 64)}.items():
        gt = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        lq = imresize(gt[: height // 4 * 4, : width // 4 * 4], 1 / 4)
        save_image(tmp_path / f'Set/HR/{name}.png', gt)
        save_image(tmp_path / f'Set/LRx4/{name}x4.png', lq)
    block = {'name': 'Set', 'type': 'PairedImageDataset', 'dataroot_gt': 'Set/HR', 'dataroot_lq': 'Set/LRx4'}
    options = {'name': 'theirs', 'model_type': 'SRModel', 'scale': 4, 'num_gpu': 0}
    options |= {'datasets': {'test': block | {'filename_tmpl': '{}x4'}}, 'network_g': {'type': 'Bicubic', 'scale': 4}}
    options |= {'val': {'save_img': True, 'metrics': METRICS}}
    Path('test.yml').write_text(yaml.safe_dump(options))
    assert run('test', ['-opt', 'test.yml']) == 0
    return tmp_path


def made(rename):
    for path in Path('results/theirs/visualization/Set').iterdir():
        save_image(Path('made', rename.format(path.stem)), read_image(path))


def report(name='made'):
    return json.loads(Path('results', name, 'metrics.json').read_text())


@pytest.mark.parametrize('name', ['{}.png', '{}_x4_SR.png', '{}-out.png', '{}_SwinIR.png', '{}x4.png'])
def test_the_numbers_are_those_of_test_py(folder, name):
    made(name)
    assert evaluate(['made', '--gt', 'Set/HR', '--lq', 'Set/LRx4', '-opt', 'test.yml']) == 0
    theirs, ours = report('theirs'), report()
    assert ours['datasets'] == theirs['datasets'] and ours['images'] == theirs['images']
    assert ours['protocol']['metrics'] == theirs['protocol']['metrics']
    assert Path('results/made/metrics.md').read_text() == Path('results/theirs/metrics.md').read_text()
    for path in Path('results/theirs/visualization/Set').iterdir():
        assert np.array_equal(read_image(path), read_image(Path('results/made/visualization/Set', path.name)))


def test_metrics_by_name(folder):
    made('{}.png')
    assert evaluate(['made', '--gt', 'Set/HR', '--metrics', 'psnr', 'ssim', '--name', 'mine', '--dataset', 'X']) == 0
    ours, theirs = report('mine')['datasets']['X'], report('theirs')['datasets']['Set']
    assert ours == {key: theirs[key] for key in ('psnr', 'ssim')}


def test_published_numbers_stand_beside(folder):
    made('{}.png')
    arguments = ['made', '--gt', 'Set/HR', '--metrics', 'psnr', '--dataset', 'BSD100', '--published', 'DRCT AESOP']
    assert evaluate(arguments) == 0
    assert '| published: DRCT AESOP |' in Path('results/made/metrics.md').read_text()


def spoil():
    made('{}_SR.png')
    Path('made/baby_SR.png').write_bytes(b'broken')
    save_image('made/bird_SR.png', np.zeros((40, 40, 3), np.uint8))


def test_bad_images_are_named(folder, capsys):
    spoil()
    save_image('Set/HR/alone.png', np.zeros((40, 40, 3), np.uint8))
    assert evaluate(['made', '--gt', 'Set/HR', '--metrics', 'psnr']) == 2
    alone, broken, small = capsys.readouterr().err.splitlines()
    assert 'Set/HR/alone.png: has no image' in alone
    assert 'made/baby_SR.png: this cannot be read' in broken
    assert 'made/bird_SR.png: 40x40 pixels (height x width), but Set/HR/bird.png has 75x66' in small
    assert not Path('results/made').exists()


def test_bad_images_are_skipped(folder, capsys):
    spoil()
    save_image('Set/HR/alone.png', np.zeros((40, 40, 3), np.uint8))
    assert evaluate(['made', '--gt', 'Set/HR', '--metrics', 'psnr', '--skip-bad']) == 0
    assert list(report()['images']['Set']) == ['baby_2']
    assert report()['left_out']['Set'].keys() == {'baby', 'bird', 'alone'}
    assert '| Set | 1 of 4 |' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['made', '--lq', 'Set/LRx4'], '--lq needs --gt'),
        (['none', '--gt', 'Set/HR'], 'none: folder not found'),
        (['made', '--gt', 'Set/HR', '--published', 'x'], '"x" is not a published column'),
        (['made', '--gt', 'Set/HR', '--lq', 'Set/LRx4', '--scale', '2'], 'is not 1/2 of the'),
    ],
)
def test_mistakes(folder, capsys, arguments, sentence):
    made('{}.png')
    assert evaluate([*arguments, '--metrics', 'psnr']) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ('truths', 'made', 'pairs'),
    [
        (['a', 'b'], ['b', 'a'], {'a': 'a', 'b': 'b'}),
        (['1', '10'], ['1x4', '10x4'], {'1': '1x4', '10': '10x4'}),
        (['img_001_SRF_4_HR'], ['img_001_SRF_4_ESRGAN'], {'img_001_SRF_4_HR': 'img_001_SRF_4_ESRGAN'}),
        (['0801'], ['0801x4_out'], {'0801': '0801x4_out'}),
        (['a', 'a_b'], ['a_b_net', 'a_net'], {'a': 'a_net', 'a_b': 'a_b_net'}),
        (['sub/a'], ['sub/a_sr'], {'sub/a': 'sub/a_sr'}),
    ],
)
def test_names(truths, made, pairs):
    assert matched(truths, made) == (pairs, {})


def test_names_that_leave_a_choice():
    pairs, problems = matched(['a', 'b', 'c_x4', 'c_HR'], ['a', 'a_SR', 'c', 'd'])
    assert problems['a'] == 'matches a and a_SR; keep only one'
    assert problems['b'] == problems['c_x4'] == 'has no image'
    assert problems['c'] == 'matches each of c_x4, c_HR; rename it'
    assert problems['d'] == 'has no ground truth'


@pytest.mark.usefixtures('backbones')
def test_a_protocol_names_its_metrics(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (2, 200, 200, 3), dtype=np.uint8)
    for folder, image in zip(('gt', 'sr'), noise):
        save_image(tmp_path / folder / 'a.png', image)
    assert evaluate(['sr', '--gt', 'gt', '--protocol', 'ntire']) == 0
    scores = report('sr')['datasets']
    (of_set,) = scores.values()
    assert of_set.keys() == {'ntire', 'lpips', 'dists', 'clipiqa', 'maniqa', 'musiq', 'niqe'}
    parts = of_set['clipiqa'] + of_set['maniqa'] + of_set['musiq'] / 100 + max(0, (10 - of_set['niqe']) / 10)
    assert of_set['ntire'] == pytest.approx(2 - of_set['lpips'] - of_set['dists'] + parts, abs=1e-4)
