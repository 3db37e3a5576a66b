import json
import re

import pytest

from tests.commands import command

main = command('report')


def test_the_command_writes_a_page(in_made, tmp_path, capsys):
    curve = tmp_path / 'pd.csv'
    curve.write_text('method,alpha,dataset,psnr,ssim\nmine,0,Set14,26,0.8\nmine,1,Set14,25,0.7\n')
    output = tmp_path / 'new/page.html'
    arguments = ['results/bicubic', 'results/tiny', '-o', str(output), '--title', 'Two', '--ae', 'ae.yml']
    arguments += ['--published', 'tiny=RRDB AESOP 128', '--beside', 'RRDB LDL 128', '--curves', str(curve)]
    assert main([*arguments, '-y', 'ssim', '--images', '1', '--quality', '80']) == 0
    assert re.search(r'page.html: 0\.\d MB', capsys.readouterr().out)
    page = output.read_text()
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', page, re.DOTALL)[1])
    assert '<title>Two</title>' in page and data['methods'] == ['bicubic', 'tiny']
    assert data['axes'] == ['psnr', 'ssim'] and len(data['curves']) == 2
    assert len(data['images']) == 1 and data['images'][0]['maps'].keys() == {'error', 'aesop'}
    assert [row['method'] for row in data['tables'][0]['rows']] == ['bicubic', 'tiny', 'RRDB LDL 128']


def test_all_mistakes_are_told_at_once(in_made, tmp_path, capsys):
    output = str(tmp_path / 'page.html')
    wrong = ['results/none', 'results/tiny', 'results/tiny', '--curves', 'none.csv', '--published', 'tony=RRDB LDL 128']
    assert main([*wrong, '--crop', '0', '--quality', '101', '--limit-mb', '0', '-o', output]) == 2
    told = capsys.readouterr().err
    for words in (
        'RESULTS: results/none/metrics.json cannot be read',
        '--curves: none.csv: this file cannot be read',
        '--published tony=RRDB LDL 128: write NAME=COLUMN, with one of these results: tiny',
        'two results are called tiny',
        '--crop 0: name 1 or more',
        '--quality 101: name 1 to 100',
        '--limit-mb 0: name more than 0',
    ):
        assert f'aesop report: {words}' in told


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--beside', 'RRDB LLD 128'], 'is not a published column'),
        (['--ae', 'tiny.yml'], 'no auto-encoder is named'),
        (['-o', '/proc/none/page.html'], 'No such file'),
    ],
)
def test_a_mistake_leaves_no_page(in_made, tmp_path, capsys, arguments, words):
    output = tmp_path / 'page.html'
    assert main(['results/tiny', '-o', str(output), '--images', '1', *arguments]) == 2
    assert words in capsys.readouterr().err and not output.exists()
