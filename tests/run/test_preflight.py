import logging
from pathlib import Path

import pytest

from aesop.errors import UserError
from aesop.options import load_options
from aesop.run import preflight


def test_what_the_sets_hold_is_logged_and_files_that_are_in_both_are_told(folder, options, caplog):
    caplog.set_level(logging.INFO, 'aesop')
    preflight.prepare(load_options(options), ('train', 'val'), Path('experiments/tiny'))
    assert 'datasets.train: BicubicImageDataset "train": 6 images, height x width gt 72x80 (6 PNG RGB)' in caplog.text
    assert 'datasets.val: BicubicImageDataset "textures": 3 images' in caplog.text
    assert 'holds files of' not in caplog.text
    (folder / 'train/copy.png').symlink_to(folder / 'val/1.png')
    preflight.prepare(load_options(options), ('train', 'val'), Path('experiments/tiny'))
    assert 'datasets.train holds files of datasets.val too: 1, e.g. val/1.png' in caplog.text


def test_many_bad_images_are_counted_and_not_passed_over(folder, options):
    for n in range(30):
        (folder / f'train/empty{n}.png').write_bytes(b'')
    options['datasets']['train'] |= {'on_error': 'skip', 'max_skipped': 0.6}  # 21 of 36, as many as are told
    with pytest.raises(UserError) as error:
        preflight.prepare(load_options(options), ('train', 'val'), Path('experiments/tiny'))
    *told, rest = error.value.problems
    assert len(told) == 20 and all('empty' in problem for problem in told)
    assert rest == 'datasets.train: ... and 10 more; `aesop check -opt FILE` lists all'
    options['datasets']['train']['max_skipped'] = 0.9
    preflight.prepare(load_options(options), ('train', 'val'), Path('experiments/tiny'))
