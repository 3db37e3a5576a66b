import logging
from pathlib import Path

from aesop.engine import preflight
from aesop.options import load_options


def test_what_the_sets_hold_is_logged_and_files_that_are_in_both_are_told(folder, options, caplog):
    caplog.set_level(logging.INFO, 'aesop')
    preflight.prepare(load_options(options), ('train', 'val'), Path('experiments/tiny'))
    assert 'datasets.train: BicubicImageDataset "train": 6 images, height x width gt 72x80 (6 PNG RGB)' in caplog.text
    assert 'datasets.val: BicubicImageDataset "textures": 3 images' in caplog.text
    assert 'holds files of' not in caplog.text
    (folder / 'train/copy.png').symlink_to(folder / 'val/1.png')
    preflight.prepare(load_options(options), ('train', 'val'), Path('experiments/tiny'))
    assert 'datasets.train holds files of datasets.val too: 1, e.g. val/1.png' in caplog.text
