import json
import re
from dataclasses import replace

import pytest

from aesop.errors import UserError
from aesop.reporting.pd_curve import Point
from aesop.reporting.report import page as module
from aesop.reporting.report.pictures import Format
from aesop.reporting.report.results import read_results


def build_page(results, **arguments):
    """With the fewest and smallest pictures: what they show is tested elsewhere."""
    return module.build_page(results, how=Format(max_side=8, quality=10, images=1), **arguments)


@pytest.fixture
def results(in_made):
    return [read_results(f'results/{name}') for name in ('bicubic', 'tiny')]


def data_of(page):
    (text,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def row_of(data, method):
    return next(row for row in data['tables'][0]['rows'] if row['method'] == method)


def test_the_page_holds_all_it_shows(results):
    page = build_page(results, title='A < B')
    assert '<title>A &lt; B</title>' in page and '<!-- ' not in page.replace('<!-- data', '')
    assert not re.findall(r'(?:src|href)="(?!#)', page) and 'url(' not in page and '@import' not in page
    assert re.findall(r'https?://[^\s"\']+', page) == ['http://www.w3.org/2000/svg']  # a name, not a place


def test_a_table_has_the_values_the_best_and_the_difference(results):
    data = data_of(build_page(results, published={'bicubic': 'RRDB AESOP 128'}, beside=['RRDB LDL 128']))
    cells = {name: row_of(data, name)['cells'] for name in ('bicubic', 'tiny')}
    for result in results:
        values = {metric: cell['value'] for metric, cell in cells[result.name].items()}
        assert values == result.means['Set14']
    assert cells['bicubic']['psnr']['best'] and not cells['tiny']['psnr']['best']
    published = cells['bicubic']['psnr']['published']
    assert published['value'] == 27.361 and published['source'] == '27.361 (Table 1, README (benchmarks))'
    assert cells['bicubic']['psnr']['difference'] == pytest.approx(results[0].means['Set14']['psnr'] - 27.361)
    assert 'published' not in cells['tiny']['psnr']
    ldl = row_of(data, 'RRDB LDL 128')
    assert ldl['printed'] and ldl['cells']['ssim']['published']['value'] == 0.7358
    assert data['metrics']['lr_psnr'] == {'label': 'LR-PSNR', 'digits': 3, 'better': 'higher'}


def test_what_the_results_name_as_published_is_compared_with(results):
    page = build_page([replace(results[0], published='RRDB LDL 128')])
    assert row_of(data_of(page), 'bicubic')['cells']['psnr']['published']['value'] == 27.228


def test_tables_that_disagree_are_both_named(results):
    result = replace(results[0], means={'General100': {'ssim': 0.8}}, protocols={}, published='SwinIR AESOP 256')
    cell = row_of(data_of(build_page([result])), 'bicubic')['cells']['ssim']
    assert cell['published']['disputed']
    assert cell['published']['source'] == '0.8328 (Table 1, README (benchmarks)); 0.8327 (Table 8)'


def test_lower_is_better_where_the_protocol_says_so(results):
    changed = [
        replace(result, means={'Set14': {'mine': value}}, protocols={'Set14': {'mine': {'better': 'lower'}}})
        for result, value in zip(results, (0.2, 0.1))
    ]
    data = data_of(build_page(changed))
    assert [row['cells']['mine']['best'] for row in data['tables'][0]['rows']] == [False, True]


def test_a_missing_metric_is_missing_and_says_why(results):
    tiny = replace(results[1], missing={'Set14': {'lpips': 'the weights cannot be had'}})
    data = data_of(build_page([results[0], tiny]))
    assert row_of(data, 'tiny')['cells']['lpips'] == {'missing': 'the weights cannot be had'}
    assert row_of(data, 'bicubic')['cells']['lpips'] == {'missing': 'not measured'}
    assert 'Set14, tiny: LPIPS is missing: the weights cannot be had' in data['notes']


def test_what_cannot_be_compared_has_no_best_and_a_note(results):
    protocol = results[1].protocols['Set14']
    rgb = {'Set14': protocol | {'psnr': protocol['psnr'] | {'colour': 'RGB'}}}
    data = data_of(build_page([results[0], replace(results[1], protocols=rgb)]))
    assert 'best' not in row_of(data, 'bicubic')['cells']['psnr'] and row_of(data, 'bicubic')['cells']['ssim']['best']
    assert 'Set14: PSNR was measured in different ways (colour); none is marked as the best.' in data['notes']

    fewer = {'Set14': {'cat': results[1].images['Set14']['cat']}}
    tiny = replace(results[1], images=fewer, left_out={'Set14': {'small': 'it is damaged'}})
    data = data_of(build_page([results[0], tiny]))
    assert 'best' not in row_of(data, 'bicubic')['cells']['ssim'] and row_of(data, 'tiny')['images'] == 1
    assert 'Set14, tiny: small is left out: it is damaged' in data['notes']
    assert any('SSIM was measured on different images (bicubic 2, tiny 1)' in note for note in data['notes'])


def test_another_protocol_than_the_papers_is_noted(results):
    protocol = results[1].protocols['Set14']
    rgb = {'Set14': protocol | {'psnr': protocol['psnr'] | {'colour': 'RGB'}}}
    data = data_of(build_page([replace(results[1], protocols=rgb)], published={'tiny': 'RRDB AESOP 128'}))
    note = 'the protocol of PSNR differs from the published one: colour RGB and not Y (BT.601)'
    assert f'Set14, tiny: {note}' in data['notes']


def test_equal_images_and_curves_can_be_written(results):
    perfect = replace(results[0], means={'Set14': {'psnr': float('inf')}})
    data = data_of(build_page([perfect, results[1]], curves=[Point('c', 0.5, 'Set14', {'psnr': 3.0, 'dists': 0.1})]))
    assert row_of(data, 'bicubic')['cells']['psnr'] == {'value': 'inf', 'best': True}
    assert data['curves'] == [{'method': 'c', 'alpha': 0.5, 'dataset': 'Set14', 'values': {'psnr': 3.0, 'dists': 0.1}}]
    assert data['metrics']['dists']['better'] == 'lower'


def test_names_are_never_markup(results):
    evil = replace(results[0], name='</script><script>alert(1)</script>')
    page = build_page([evil, results[1]])
    assert page.count('<script') == 2 and data_of(page)['methods'][0] == evil.name


def test_names_of_the_page_and_unknown_columns_are_refused(results):
    with pytest.raises(UserError, match='a result is called Input, which is reserved'):
        build_page([replace(results[0], name='Input')])
    with pytest.raises(UserError, match='"RRDB AESOP 12" is not a published column'):
        build_page(results, published={'tiny': 'RRDB AESOP 12'})
