"""Every published number is in the file once for each place that prints it, and is found again by its key."""

import csv
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from aesop.errors import UserError
from aesop.evaluation import published as module
from aesop.evaluation.published import FILE, find, key_of, names, other_protocol, published

SEEDS = Path(__file__).parents[2] / '../shared/seeds'
NUMBER = re.compile(r'(?<![\w.])(\d*)(\.\d+)(?![\w.])')
DATASETS = {'Set14', 'Manga109', 'General100', 'Urban100', 'DIV2K-val', 'BSD100', 'LSDIR'}


def printed(row):
    return f'{row.value:.{row.digits}f}'


@pytest.mark.skipif(not SEEDS.is_dir(), reason='needs the texts that the numbers were taken from')
@pytest.mark.parametrize(
    ('source', 'file', 'count'), [('paper', 'aesop_paper.txt', 648), ('readme', 'aesop_readme.md', 300)]
)
def test_all_numbers_of_all_tables_are_there(source, file, count):
    lines = [
        line
        for line in (SEEDS / file).read_text(encoding='utf-8').replace('_', ' ').splitlines()
        if line.count('|') > 2
    ]
    there = Counter(f'{whole or 0}{rest}' for line in lines for whole, rest in NUMBER.findall(line))
    here = Counter(printed(row) for row in published() if row.source == source)
    assert here == there and here.total() == count


@pytest.mark.parametrize(
    ('key', 'values'),
    [
        ({'name': 'RRDB AESOP 128', 'dataset': 'Set14', 'metric': 'psnr'}, {'Table 1': '27.361'}),
        ({'name': 'SwinIR +GAN 256', 'dataset': 'DIV2K-val', 'metric': 'LPIPS'}, {'Table 1': '0.1038'}),
        (
            {'name': 'RRDB Real-ESRGAN', 'dataset': 'DRealSR', 'metric': 'NIQE'},
            {'Table 2': '4.7152', 'Table 6': '4.7152'},
        ),
        ({'method': 'AESOP, encoder without LR term', 'metric': 'psnr'}, {'Table 3': '29.150'}),
        ({'name': 'SwinIR LDL 256', 'dataset': 'LSDIR', 'metric': 'lr_psnr'}, {'Table 4': '45.731'}),
        ({'method': 'LDL, low-pass L1', 'dataset': 'Urban100', 'metric': 'lpips'}, {'Table 5': '0.1090'}),
        ({'method': 'BSRGAN', 'dataset': 'RealSRv3', 'metric': 'CLIP-IQA'}, {'Table 6': '0.5439'}),
        ({'name': 'swinir ldl* 256', 'dataset': 'Set14', 'metric': 'fid'}, {'Table 7': '46.057'}),
        ({'name': 'RRDB AESOP 256', 'dataset': 'LSDIR', 'metric': 'patch_fid'}, {'Table 7': '11.718'}),
        (
            {'method': 'CALGAN', 'backbone': 'SwinIR', 'dataset': 'BSD100', 'metric': 'calculate_dists'},
            {'Table 8': '0.128'},
        ),
        ({'backbone': 'RRDB', 'method': 'SPSR', 'dataset': 'Set14', 'metric': 'AEPSNR'}, {'Table 9': '30.602'}),
    ],
)
def test_a_number_of_each_table(key, values):
    assert {row.table: printed(row) for row in find(**key) if row.source == 'paper'} == values


def test_what_a_dash_stands_for_is_not_there():
    assert not find('SwinIR +GAN 256', dataset='BSD100', metric='psnr')
    assert not find('RRDB AESOP 128', dataset='Set5')


def test_tables_that_disagree_are_both_kept_and_marked():
    values = {}
    for row in published():
        values.setdefault((row.name, row.dataset, row.metric), []).append(row)  # the scale is part of the name
    for key, rows in values.items():
        digits = min(row.digits for row in rows)
        differ = max(r.value for r in rows) - min(r.value for r in rows) > 0.51 * 10**-digits
        assert {row.disputed for row in rows} == {differ}, key
    disputed = [row for row in published() if row.disputed and row.scale == 4]
    assert [(row.table, printed(row)) for row in disputed] == [
        ('Table 1', '0.8328'),
        ('Table 8', '0.8327'),
        ('README (benchmarks)', '0.8328'),
    ]
    assert {(row.name, row.dataset, row.metric) for row in disputed} == {('SwinIR AESOP 256', 'General100', 'SSIM')}


def test_names_are_those_of_the_benchmark_options():
    assert {row.dataset for row in published() if row.scale == 4} == DATASETS | {'RealSRv3', 'DRealSR'}
    assert {'RRDB ESRGAN 128', 'SwinIR AESOP* 256', 'DRCT AESOP', 'RRDB BSRGAN'} <= set(names())


def test_the_file_is_readable_without_us():
    tables = json.loads(FILE.read_text(encoding='utf-8'))['tables']
    assert [table['table'] for table in tables][:9] == [f'Table {n}' for n in range(1, 10)]
    assert all(len(row['values']) == len(t['columns']) for t in tables for row in t['rows'])


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(UserError, match='"RRDB AESOPS 128" is not a published column.*Did you mean "RRDB AESOP 128"'):
        find('RRDB AESOPS 128')


def test_a_missing_file_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(module, 'FILE', tmp_path / 'none.json')
    published.cache_clear()
    with pytest.raises(UserError, match='none.json: file not found'):
        find(dataset='Set14')
    published.cache_clear()


REFVAE = Path(__file__).parents[2] / '../shared/golden/published_refvae.csv'


@pytest.mark.skipif(not REFVAE.is_file(), reason='needs the table that the numbers were taken from')
def test_all_numbers_of_refvae_are_there():
    with REFVAE.open(newline='') as file:
        there = Counter(
            (line['method'], int(line['scale']), line['dataset'], key_of(line['metric']), line['value'])
            for line in csv.DictReader(file)
        )
    rows = [row for row in published() if row.source in ('refvae', 'ntire')]
    assert Counter((row.method, row.scale, row.dataset, key_of(row.metric), printed(row)) for row in rows) == there


def test_another_scale_is_another_column():
    assert {row.scale for row in find('RefVAE(LR) x8')} == {8}
    assert find('RRDB AESOP 128', scale=8) == []
    assert [printed(row) for row in find('SRFlow x8', dataset='DIV2K-val', metric='diversity score')] == [
        '10.07',
        '10.62',
    ]
    assert [printed(row) for row in find('SRFlow', dataset='DIV2K-val', metric='DiversityScore')] == ['25.36']
    with pytest.raises(UserError, match='Did you mean "RefVAE'):
        find('RefVAE LR 8x')


def test_a_protocol_is_compared_at_the_scale_of_the_number():
    at_x8 = {'metric': 'PSNR', 'colour': 'Y (BT.601)', 'crop_border': 8}
    (row,) = find('RefVAE(LR) x8', dataset='Set5', metric='PSNR')
    assert other_protocol(at_x8, row) == ''
    assert other_protocol(at_x8) == 'crop_border 8 and not 4'
    assert other_protocol(at_x8 | {'crop_border': 4}, row) == 'crop_border 4 and not 8'
    (row,) = find('RefVAE(LR) x8', dataset='DIV2K-val', metric='LRPSNR')
    assert 'not without antialiasing' in other_protocol({'metric': 'LRPSNR'}, row)
