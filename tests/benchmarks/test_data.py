import json

import numpy as np
import pytest

from aesop.benchmarks import data
from aesop.errors import UserError
from aesop.utils.images import save_image
from tests.commands import command

benchmark = command('benchmark')

pytest.importorskip('lmdb')


@pytest.fixture
def small(tmp_path, monkeypatch):
    for name, value in {'SIZE_2K': (250, 490), 'SUB': 120, 'SECONDS': 0.01}.items():
        monkeypatch.setattr(data, name, value)
    rng = np.random.default_rng(0)
    for number in range(3):
        save_image(tmp_path / f'photographs/{number}.png', rng.integers(0, 256, (200, 300, 3), dtype=np.uint8))
    return tmp_path


def test_every_loader_is_measured_on_the_same_images(small, capsys):
    command = ['data', '-o', str(small / 'out'), '--images', str(small / 'photographs'), '--folder', str(small)]
    command += ['--count', '2', '--rounds', '1', '--workers', '0', '1', '--gt_size', '48', '--batch', '2']
    assert benchmark(command) == 0, capsys.readouterr().err
    tables = json.loads((small / 'out/data.json').read_text())['tables']
    loaders = ['plain', 'lmdb', 'cache', 'cache, LR made']
    for title in ('2K images', 'Sub-images of 480x480'):
        assert [(row['workers'], row['loader']) for row in tables[title]] == [
            (n, name) for n in (0, 1) for name in loaders
        ]
        assert all(row['cold'] > 0 and row['warm'] > 0 for row in tables[title])
        assert tables[title][0]['warm / plain'] == 1
    assert [row['image'] for row in tables['imresize, scale 1/4']][-1] == 'a batch'
    assert (small / 'out/data.md').read_text() in capsys.readouterr().out
    assert not list(small.glob('tmp*'))


def test_loaders_that_give_other_crops_are_not_compared(small):
    data.make_images(data.photographs(small / 'photographs'), 2, small / 'images')
    make = data.datasets(small / 'images/sub', 48)
    with pytest.raises(UserError, match='the loaders give different crops'):
        data.check_equal([make['plain'](), data.Plain(small / 'images/sub', 48, seed=1)], 4)
    data.check_equal([each() for each in make.values()], 16)
