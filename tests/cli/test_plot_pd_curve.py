import csv
import json
from pathlib import Path

import pytest

from aesop.reporting import pd_curve
from tests.commands import command

main = command('plot', 'pd-curve')

pytestmark = pytest.mark.usefixtures('coarse')

CURVE = ['-opt', 'tiny.yml', '--curve', 'tiny', 'start.pth', 'end.pth', '--steps', '2', '-y', 'lr_psnr']


def table(path):
    return list(csv.DictReader(Path(path).open()))


def test_curves_are_measured_and_drawn_with_earlier_ones(inputs, capsys, monkeypatch):
    assert main([*CURVE, '-o', 'out/pd']) == 0
    assert capsys.readouterr().out.split() == ['out/pd.csv', 'out/pd_Set14.png', 'out/pd_Set14.pdf']
    rows = table('out/pd.csv')
    assert [(row['method'], row['alpha']) for row in rows] == [('tiny', '0'), ('tiny', '1')]

    figure = Path('out/pd_Set14.png').read_bytes()
    assert json.loads(Path('out/pd.json').read_text())['tiny']['metrics']['Set14']['psnr']['crop_border'] == 4
    evaluated = []
    with monkeypatch.context() as patch:
        patch.setattr(pd_curve, 'evaluate', lambda *_, **__: evaluated.append(1))
        assert main([*CURVE, '-o', 'out/pd', '--resume']) == 0
    assert table('out/pd.csv') == rows and Path('out/pd_Set14.png').read_bytes() == figure and not evaluated

    again = [*CURVE[:3], 'second', *CURVE[4:], '--add', 'out/pd.csv', '--published', 'RRDB AESOP 128', '-o', 'out/both']
    assert main(again) == 0
    assert [row['method'] for row in table('out/both.csv')] == ['tiny', 'tiny', 'second', 'second']
    assert table('out/both.csv')[:2] == rows

    assert main(['--add', 'out/pd.csv', '-x', 'ssim', '-y', 'psnr', '-o', 'out/other']) == 0  # without a network
    assert Path('out/other_Set14.pdf').is_file()


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ([], 'name an option file and curves'),
        (['-opt', 'tiny.yml'], 'name an option file and curves'),
        ([*CURVE, '--steps', '1'], 'a curve has two ends at least'),
        ([*CURVE, '--curve', 'tiny', 'start.pth', 'end.pth'], 'tiny is named twice'),
        ([*CURVE, '--published', 'RRDB CALGANS'], 'Did you mean "RRDB CALGAN"?'),
        ([*CURVE[:-1], 'dists', '--steps', '2'], 'tiny: no data set of tiny.yml has the metric dists; available'),
        (['--add', 'none.csv'], 'none.csv: this file cannot be read'),
        ([*CURVE, '--set', 'network_g=~'], 'network_g: is missing'),
        (['--add', 'pd.csv', '-y', 'dists'], 'no point has the metric dists; available: psnr'),
    ],
)
def test_mistakes_are_told(inputs, capsys, arguments, words):
    Path('pd.csv').write_text('method,alpha,dataset,psnr\nmine,0,Set14,26\n')
    assert main([*arguments, '-o', 'new']) == 2
    assert words in capsys.readouterr().err
