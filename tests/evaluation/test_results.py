import pytest

from aesop.evaluation.evaluate import Evaluation
from aesop.evaluation.results import Report

Y = {'metric': 'PSNR', 'colour': 'Y (BT.601)', 'crop_border': 4}
LPIPS = {'metric': 'LPIPS', 'colour': 'RGB', 'crop_border': 0, 'backbone': 'alexnet'}


def report(psnr, lpips):
    results = {'Set14': Evaluation(mean={'quality': 27.0, 'lpips': 0.2}, images={'a': {}})}
    return Report('mine', results, {'Set14': {'quality': psnr, 'lpips': lpips}}, {}, 'RRDB AESOP 128')


def test_a_number_that_was_measured_in_another_way_is_marked():
    papers = report(Y, LPIPS)
    (row, *_) = papers.comparison()['Set14']['lpips']
    assert row['otherwise'] == '' and '*' not in papers.markdown()
    assert f'| {row["difference"]:+.4f} |' in papers.markdown()

    ours = report(Y | {'metric': 'StabilisedPSNR', 'colour': 'RGB'}, LPIPS | {'backbone': 'vgg16'})
    why = ours.comparison()['Set14']
    assert why['quality'][0]['otherwise'] == 'colour RGB and not Y (BT.601)'
    assert why['lpips'][0]['otherwise'] == 'backbone vgg16 and not alexnet'
    assert why['lpips'][0]['difference'] == pytest.approx(row['difference'])
    assert f'| {row["difference"]:+.4f}* |' in ours.markdown()
    assert ours.markdown().splitlines()[-2:] == [
        '- Set14: * the protocol of quality differs from the published one: colour RGB and not Y (BT.601)',
        '- Set14: * the protocol of lpips differs from the published one: backbone vgg16 and not alexnet',
    ]

    papers.results['Set14'].left_out['b'] = 'it is damaged'
    assert papers.comparison()['Set14']['lpips'][0]['otherwise'] == '1 of 2 images'


def test_what_holds_for_several_data_sets_is_said_once():
    result = Evaluation(missing={'fid': 'no weights\nat all'}, left_out={'b': 'it is damaged'})
    text = Report('mine', {'A': result, 'B': Evaluation(missing=result.missing)}, {'A': {}, 'B': {}}, {}).markdown()
    assert text.splitlines()[-3:] == [
        '',
        '- A, B: fid is missing: no weights at all',
        '- A: b is left out: it is damaged',
    ]
