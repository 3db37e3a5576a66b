import json
import math

import pytest

from aesop.errors import UserError
from aesop.reporting.report.results import read_results
from tests.small_results import SIZES


def test_what_the_engine_wrote_is_read(in_made):
    results = read_results('results/tiny')
    with open('results/tiny/metrics.json') as file:
        written = json.load(file)
    assert results.name == 'tiny' and results.published is None
    assert results.means == written['datasets'] and results.images == written['images']
    assert results.images['Set14'].keys() == SIZES.keys()
    assert results.protocol('Set14', 'psnr')['crop_border'] == 4 and results.protocol('Set5', 'psnr') == {}
    assert results.pictures('Set14', 'cat')['tiny'].is_file() and results.pictures('Set14', 'dog') == {}
    sample = results.dataset('Set14')[0]
    assert sample['name'] == 'cat' and sample['gt'].shape == (3, *SIZES['cat'])
    assert results.dataset('Set5') is None


def write(folder, content):
    folder.mkdir()
    (folder / 'metrics.json').write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_what_is_no_number_is_not_taken_for_one(tmp_path):
    values = {'psnr': 'inf', 'ssim': None, 'lpips': 0.1, 'niqe': 'nan'}
    content = {'datasets': {'Set5': values}, 'missing': {'Set5': {'niqe': 'no weights'}}, 'published': 'RRDB AESOP 128'}
    results = read_results(write(tmp_path / 'run', content))
    assert results.means == {'Set5': {'psnr': math.inf, 'lpips': 0.1}}
    assert results.missing == {'Set5': {'niqe': 'no weights'}} and results.published == 'RRDB AESOP 128'
    assert results.name == 'run' and results.options is None and results.dataset('Set5') is None


@pytest.mark.parametrize('content', ['', '[]', '{"images": {}}', '{"datasets": {"Set5": [1]}}', '{"datasets": null}'])
def test_other_files_are_refused(tmp_path, content):
    with pytest.raises(UserError, match='metrics.json is not a result of `aesop test` or is damaged'):
        read_results(write(tmp_path / 'run', content))


def test_a_folder_without_results_is_told(tmp_path):
    with pytest.raises(UserError, match='cannot be read .* give folders written by `aesop test`'):
        read_results(tmp_path / 'none')


def test_data_that_has_moved_is_told(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match='options.yml: datasets.test_1: gt: folder not found'):
        read_results(made / 'results/tiny').dataset('Set14')
