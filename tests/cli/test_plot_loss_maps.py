import csv
from pathlib import Path

import numpy as np
import pytest

from aesop.utils.images import save_image
from tests.commands import command

main = command('plot', 'loss-maps')

pytestmark = pytest.mark.usefixtures('coarse')

SR = 'results/tiny/visualization/Set14/cat.png'


def test_a_figure_of_two_methods(in_made, tmp_path, capsys):
    images = [f'tiny={SR}', f'a=b={SR.replace("tiny", "bicubic")}']
    arguments = ['-opt', 'ae.yml', '--gt', 'gt/cat.png', '--sr', *images, '-o', str(tmp_path / 'maps')]
    assert main([*arguments, '--crop', '8', '16', '20']) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / f'maps{end}') for end in ('.png', '.pdf', '.csv')]
    rows = list(csv.DictReader((tmp_path / 'maps.csv').open()))
    assert len(rows) == 2 * 20 * 20 and {row['method'] for row in rows} == {'tiny', 'a=b'}
    assert (rows[0]['y'], rows[0]['x']) == ('8', '16')


@pytest.mark.parametrize(
    ('changed', 'words'),
    [
        ({'--gt': 'none.png'}, 'HR: none.png: file not found'),
        ({'--sr': SR}, f'{SR} needs a name of its own: NAME=IMAGE'),
        ({'--sr': 'tiny=small.png'}, 'tiny is an image of 16x16 pixels, and the ground truth of 120x96'),
        ({'-opt': 'tiny.yml'}, 'no auto-encoder is named'),
        ({'--crop': '90 0 20'}, '--crop 90 0 20 leaves the image of 120x96 pixels'),
    ],
)
def test_mistakes_are_told(in_made, tmp_path, capsys, changed, words):
    save_image(tmp_path / 'small.png', np.zeros((16, 16, 3), np.uint8))
    named = {'-opt': 'ae.yml', '--gt': 'gt/cat.png', '--sr': f'tiny={SR}'} | changed
    arguments = [word for key, value in named.items() for word in (key, *value.split())]
    arguments = [word.replace('small.png', str(tmp_path / 'small.png')) for word in arguments]
    assert main([*arguments, '-o', str(tmp_path / 'maps')]) == 2
    assert words in capsys.readouterr().err.replace(str(tmp_path) + '/', '')
    assert not Path(tmp_path / 'maps.png').exists()
