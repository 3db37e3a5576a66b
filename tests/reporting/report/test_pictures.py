import base64
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from aesop.errors import UserError
from aesop.options import load_options
from aesop.reporting.autoencoder import autoencoder_of
from aesop.reporting.report.pictures import Format, album
from aesop.reporting.report.results import read_results
from aesop.utils.images import read_image, save_image, to_tensor
from aesop.utils.imresize import imresize
from tests.small_results import SIZES


def decoded(uri):
    head, data = uri.split(',')
    assert head == 'data:image/webp;base64'
    return cv2.cvtColor(
        cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB
    )


@pytest.fixture
def results(in_made):
    return [read_results(f'results/{name}') for name in ('bicubic', 'tiny')]


def test_all_methods_are_beside_ground_truth_and_input(results):
    entries, notes = album(results, Format(), None)
    assert [entry['name'] for entry in entries] == list(SIZES)
    cat = entries[0]
    assert list(cat['pictures']) == ['Ground truth', 'bicubic', 'tiny', 'Input, bicubic', 'Input']
    pixels = {name: decoded(uri) for name, uri in cat['pictures'].items()}
    assert np.array_equal(pixels['Ground truth'], read_image('gt/cat.png'))
    assert np.array_equal(pixels['tiny'], read_image('results/tiny/visualization/Set14/cat.png'))
    assert np.array_equal(pixels['Input, bicubic'], pixels['bicubic'])
    assert np.array_equal(pixels['Input'], imresize(read_image('gt/cat.png'), 1 / 4))
    assert len(notes) == 1 and 'lossless WebP' in notes[0]


def test_maps_are_on_one_scale_with_their_means(results):
    ae = autoencoder_of(load_options('ae.yml'))
    cat = album(results, Format(images=1), ae)[0][0]
    assert cat['maps'].keys() == cat['means'].keys() == {'error', 'aesop'}
    gt, sr = (to_tensor(read_image(path))[None] for path in ('gt/cat.png', 'results/tiny/visualization/Set14/cat.png'))
    with torch.inference_mode():
        encoded = (ae(sr) - ae(gt)).abs()
    assert cat['means']['error']['tiny'] == pytest.approx((sr - gt).abs().mean().item())
    assert cat['means']['aesop']['tiny'] == pytest.approx(encoded.mean().item())
    assert cat['maps']['error'].keys() == {'bicubic', 'tiny', 'Input, bicubic'}
    error = (sr - gt).abs().mean((0, 1))
    light = decoded(cat['maps']['error']['tiny']).sum(2)
    assert light.shape == error.shape
    assert light.flat[int(error.argmax())] > light.flat[int(error.argmin())] < 60
    assert np.array_equal(decoded(cat['maps']['error']['bicubic']), decoded(cat['maps']['error']['Input, bicubic']))


def test_large_pictures_are_scaled_down_or_cut(results):
    cat = album(results, Format(max_side=60), None)[0][0]
    assert cat['size'] == [120, 96] and decoded(cat['pictures']['tiny']).shape == (48, 60, 3)
    assert decoded(cat['pictures']['Input']).shape == (24, 30, 3)

    entries, notes = album(results, Format(crop=50), None)
    cat = entries[0]
    assert cat['size'] == [48, 48] and 'the middle 50 pixels' in notes[0]
    gt, small = (decoded(cat['pictures'][name]) for name in ('Ground truth', 'Input'))
    assert np.array_equal(gt, read_image('gt/cat.png')[24:72, 36:84]) and small.shape == (12, 12, 3)
    assert np.array_equal(small, imresize(read_image('gt/cat.png'), 1 / 4)[6:18, 9:21])  # the same place


def test_the_limit_costs_exactness_first_and_images_then(results):
    entries, notes = album(results, Format(limit=100_000), None)
    assert len(entries) == 2 and 'WebP of quality 90, so they are not exact' in notes[0]
    lossy, exact = decoded(entries[0]['pictures']['Ground truth']), read_image('gt/cat.png')
    assert np.abs(exact.astype(int) - lossy).max() > 0
    entries, notes = album(results, Format(limit=2000), None)
    assert len(entries) == 1
    assert '1 of 2 images are shown: the page is limited to 0.002 MB. The tables cover all.' in notes
    assert len(album(results, Format(images=1), None)[0]) == 1
    assert album(results, Format(quality=50), None)[1][0].startswith('Pictures are WebP of quality 50')


@pytest.fixture
def copied(made, tmp_path, monkeypatch):
    """Results that a test may spoil."""
    shutil.copytree(made, tmp_path / 'copy')
    monkeypatch.chdir(tmp_path / 'copy')
    return Path('results/tiny/visualization/Set14')


def test_a_picture_of_another_size_is_told(copied):
    save_image(copied / 'cat.png', np.zeros((50, 50, 3), np.uint8))
    with pytest.raises(UserError, match='tiny/visualization/Set14/cat.png has 50x50 pixels where 120x96 are expected'):
        album([read_results('results/tiny')], Format(), None)


def test_a_result_that_was_not_cut_to_the_scale_is_cut(copied):
    sr = read_image(copied / 'cat.png')
    save_image(copied / 'cat.png', np.pad(sr, ((0, 3), (0, 1), (0, 0))))
    cat = album([read_results('results/tiny')], Format(), None)[0][0]
    assert np.array_equal(decoded(cat['pictures']['tiny']), sr)


def test_without_pictures_the_page_says_so(copied):
    shutil.rmtree(copied)
    entries, notes = album([read_results('results/tiny')], Format(), None)
    assert entries == [] and notes[0].startswith('There are no pictures')


def test_images_that_the_test_left_out_are_not_missed(copied):
    (Path('gt') / 'broken.png').write_bytes(b'no image')
    with open('results/tiny/options.yml') as file:
        options = yaml.safe_load(file)
    options['datasets']['test_1'] |= {'type': 'PairedImageDataset', 'dataroot_lq': 'lq'}
    Path('results/tiny/options.yml').write_text(yaml.safe_dump(options))
    save_image('lq/cat.png', imresize(read_image('gt/cat.png'), 1 / 4))
    save_image('lq/small.png', imresize(read_image('gt/small.png'), 1 / 4))
    assert [entry['name'] for entry in album([read_results('results/tiny')], Format(), None)[0]] == ['cat', 'small']


def test_solutions_stand_side_by_side_with_their_spread(results, tmp_path):
    """A method that was asked for three solutions: each is shown, and where they differ."""
    tiny = read_results(shutil.copytree('results/tiny', tmp_path / 'tiny'))
    path = tiny.folder / 'visualization/Set14/cat.png'
    first = read_image(path)
    path.unlink()
    solutions = [np.clip(first.astype(int) + change, 0, 255).astype(np.uint8) for change in (0, 10, 20)]
    for k, solution in enumerate(solutions):
        save_image(path.with_name(f'cat_sample{k:05}.png'), solution)
    cat = album([results[0], tiny], Format(), None)[0][0]
    assert list(cat['pictures']) == ['Ground truth', 'bicubic', 'tiny 1', 'tiny 2', 'tiny 3', 'Input, bicubic', 'Input']
    assert np.array_equal(decoded(cat['pictures']['tiny 3']), solutions[2])
    assert cat['maps']['spread'].keys() == {'tiny 1', 'tiny 2', 'tiny 3'}
    assert cat['maps']['error'].keys() >= {'tiny 1', 'tiny 2', 'tiny 3'}
    want = np.stack(solutions).astype(np.float64).std(0, ddof=1).mean() / 255
    assert cat['means']['spread']['tiny 1'] == pytest.approx(want, rel=1e-5)
