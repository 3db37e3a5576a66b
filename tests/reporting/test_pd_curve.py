import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from aesop.cli.runs import main
from aesop.errors import UserError
from aesop.reporting.pd_curve import (
    Point,
    draw_pd_curves,
    interpolate,
    measure,
    read_earlier,
    read_points,
    write_points,
)

pytestmark = pytest.mark.usefixtures('coarse')

POINTS = [
    Point('one', 0.0, 'Set14', {'psnr': 28.0, 'lpips': 0.3}),
    Point('one', 1.0, 'Set14', {'psnr': 26.0, 'lpips': 0.1}),
    Point('two', 0.0, 'Set14', {'psnr': 28.0}),
    Point('one', 0.0, 'Set5', {'psnr': 30.0, 'lpips': 0.2}),
]


def test_weights_are_mixed_and_the_ends_are_exact():
    start = {'w': torch.rand(50), 'n': torch.tensor(1)}
    end = {'w': torch.rand(50), 'n': torch.tensor(7)}
    assert torch.equal(interpolate(start, end, 0)['w'], start['w'])
    assert torch.equal(interpolate(start, end, 1)['w'], end['w'])
    half = interpolate(start, end, 0.25)
    torch.testing.assert_close(half['w'], 0.75 * start['w'] + 0.25 * end['w'])
    assert half['n'] == 7


def test_the_ends_of_a_curve_are_the_test_runs(inputs):
    seen = []
    points = measure(
        'tiny.yml', [], {'tiny': ('start.pth', 'end.pth')}, 3, torch.device('cpu'), lambda p, made: seen.append(len(p))
    )
    assert seen == [1, 2, 3]  # so that nothing is lost
    assert [point.alpha for point in points] == [0, 0.5, 1]
    for weights, point in (('start', points[0]), ('end', points[2])):
        assert (
            main('test', ['-opt', 'tiny.yml', '--set', f'name={weights}', f'path.pretrain_network_g={weights}.pth'])
            == 0
        )
        with open(f'results/{weights}/metrics.json') as file:
            assert json.load(file)['datasets']['Set14'] == pytest.approx(point.values, rel=1e-9)
    assert len({point.values['psnr'] for point in points}) == 3


class Killed(Exception):
    pass


def test_an_interrupted_curve_goes_on(inputs):
    def curve(weights='end.pth', kill_at=None, resume=True):
        """The table, and how many networks were evaluated for it."""
        computed = []

        def done(points, made):
            write_points('pd', points, made)
            computed.append(points[-1])
            if len(points) == kill_at:
                raise Killed

        earlier = read_earlier('pd') if resume else ([], {})
        measure('tiny.yml', [], {'tiny': ('start.pth', weights)}, 4, torch.device('cpu'), done, earlier=earlier)
        return Path('pd.csv').read_text(), len(computed)

    whole, count = curve()
    assert count == 4
    with pytest.raises(Killed):
        curve(kill_at=3, resume=False)
    assert len(read_points('pd.csv')) == 3
    assert curve() == (whole, 1)
    net = torch.load('end.pth')['params']
    torch.save({'params': {name: 0.9 * tensor for name, tensor in net.items()}}, 'other.pth')
    others, count = curve('other.pth')  # of other weights, so nothing counts
    assert others != whole and count == 4
    Path('pd.json').write_text('[')
    with pytest.raises(UserError, match='pd.json does not describe a curve'):
        read_earlier('pd')


def test_all_mistakes_come_before_any_work(inputs):
    def done(points, made):
        raise AssertionError('something was measured')

    ends = {'good': ('start.pth', 'end.pth'), 'no': ('start.pth', 'none.pth'), 'other': ('ae.pth', 'end.pth')}
    with pytest.raises(UserError) as error:
        measure('tiny.yml', [], ends, 3, torch.device('cpu'), done)
    first, second = error.value.problems
    assert first.startswith('no: none.pth: file not found')
    assert second.startswith('other: ae.pth does not fit this MSRResNet')


def test_a_table_is_read_back(tmp_path):
    assert read_points(write_points(tmp_path / 'pd', POINTS)) == POINTS


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (None, 'cannot be read'),
        ('a,b\n1,2\n', 'is not a table of `aesop plot pd-curve`'),
        ('method,alpha,dataset,psnr\none,x,Set5,1\n', 'is not a table of `aesop plot pd-curve`'),
        ('method,alpha,dataset,psnr\n', 'has no rows'),
    ],
)
def test_another_table_is_refused(tmp_path, content, words):
    if content is not None:
        (tmp_path / 'pd.csv').write_text(content)
    with pytest.raises(UserError, match=f'pd.csv: .*{words}'):
        read_points(tmp_path / 'pd.csv')


def test_each_data_set_gets_a_figure_over_any_two_metrics(tmp_path):
    single = [Point('mark', 1, 'Set14', {'psnr': 27.0, 'lpips': 0.1})]
    written = draw_pd_curves(POINTS, 'psnr', 'lpips', tmp_path / 'pd', single)
    assert [path.name for path in written] == ['pd_Set14.png', 'pd_Set14.pdf', 'pd_Set5.png', 'pd_Set5.pdf']
    assert Image.open(written[0]).size[0] == 132  # 3.3 inches, at the 40 dpi of `coarse`
    with pytest.raises(UserError, match='no point has the metric dists; available: psnr, lpips'):
        draw_pd_curves(POINTS, 'psnr', 'dists', tmp_path / 'pd')
