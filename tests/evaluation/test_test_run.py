import csv
import json
import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from aesop.archs import build_network
from aesop.cli.runs import main
from aesop.data.storage import source
from aesop.errors import UserError
from aesop.evaluation import evaluate
from aesop.evaluation.journal import FinishedBatches
from aesop.evaluation.results import Report
from aesop.metrics import fid
from aesop.metrics.psnr_ssim import PSNR
from aesop.registry import METRICS
from aesop.utils.images import read_image, save_image
from tests.runs import AE, G
from tests.tiny import StandIn
from tests.training.test_loop import ROOT, torchrun

SHARED = Path(__file__).parents[3] / 'shared'


@pytest.fixture
def bicubic(options):
    """The options of a test run of bicubic upsampling on two sets."""
    for key in ('train', 'logger'):
        del options[key]
    options['network_g'] = {'type': 'Bicubic', 'scale': 4}
    options['val'] |= {'save_img': True}
    del options['val']['val_freq']
    options['val']['metrics'] |= {'lr_psnr': {'type': 'LRPSNR', 'scale': 4}}
    sets = {'test_1': options['datasets']['val'], 'test_2': {**options['datasets']['val'], 'name': 'others'}}
    sets['test_2']['dataroot_gt'] = 'train'
    options['datasets'] = sets
    return options


def test(options, *arguments):
    Path('test.yml').write_text(yaml.safe_dump(options))
    return main('test', ['-opt', 'test.yml', *arguments])


test.__test__ = False


def test_a_test_run_writes_images_numbers_and_how_they_were_made(folder, bicubic):
    assert test(bicubic) == 0
    root = folder / 'results/tiny'
    report = json.loads((root / 'metrics.json').read_text())
    assert report['datasets'].keys() == {'textures', 'others'}
    of_images = [values['psnr'] for values in report['images']['others'].values()]
    assert len(of_images) == 6
    assert report['datasets']['others']['psnr'] == pytest.approx(sum(of_images) / 6)
    assert report['protocol']['metrics']['textures']['psnr']['crop_border'] == 4
    rows = list(csv.DictReader((root / 'metrics.csv').open()))
    assert [row['image'] for row in rows] == ['0', '1', '2', 'mean', '0', '1', '2', '3', '4', '5', 'mean']
    assert f'{report["datasets"]["textures"]["psnr"]:.4f}' in (root / 'metrics.md').read_text()
    images = sorted((root / 'visualization/textures').iterdir())
    assert [path.name for path in images] == ['0.png', '1.png', '2.png']
    assert read_image(images[0]).shape == (72, 80, 3)


def test_images_may_be_called_as_by_basicsr(folder, bicubic):
    assert test(bicubic, '--set', 'val.suffix="{name}"') == 0
    assert (folder / 'results/tiny/visualization/textures/0_tiny.png').is_file()


def test_a_full_disk_is_told(folder, bicubic, capsys, monkeypatch):
    def full(path, image):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(evaluate, 'save_image', full)
    assert test(bicubic) == 2
    said = capsys.readouterr().err
    assert '.png could not be written ([Errno 28] No space left on device): check the free space' in said
    assert 'Traceback' not in said


def test_results_are_moved_aside_not_overwritten(folder, bicubic):
    assert test(bicubic) == 0
    assert test(bicubic) == 0
    assert len(list((folder / 'results').glob('tiny_archived_*/metrics.json'))) == 1


def test_two_ranks_give_the_same_numbers(folder, bicubic):
    assert test(bicubic) == 0
    bicubic['name'] = 'two'
    Path('two.yml').write_text(yaml.safe_dump(bicubic))
    code, said = torchrun(str(ROOT / 'test.py'), '-opt', 'two.yml')
    assert code == 0, said
    one, two = (json.loads(Path(f'results/{name}/metrics.json').read_text()) for name in ('tiny', 'two'))
    assert one['datasets'] == two['datasets'] and one['images'] == two['images']
    assert len(list(Path('results/two/visualization/others').iterdir())) == 6


def test_images_without_ground_truth_are_upscaled_and_a_metric_that_needs_one_is_refused(folder, bicubic, capsys):
    bicubic['datasets'] = {'test_1': {'name': 'alone', 'type': 'SingleImageDataset', 'dataroot_lq': 'val'}}
    assert test(bicubic) == 2
    assert 'psnr' in capsys.readouterr().err
    bicubic['val']['metrics'] = {}
    assert test(bicubic) == 0
    assert read_image(Path('results/tiny/visualization/alone/0.png')).shape == (288, 320, 3)


def test_weights_are_taken_by_their_key(folder, options, bicubic):
    nets = [build_network(G) for _ in range(2)]
    torch.save({'params': nets[0].state_dict(), 'params_ema': nets[1].state_dict()}, 'net.pth')
    bicubic['network_g'] = G
    bicubic['path'] = {'pretrain_network_g': 'net.pth', 'param_key_g': 'params_ema'}
    bicubic['datasets'].pop('test_2')
    assert test(bicubic) == 0
    first = json.loads(Path('results/tiny/metrics.json').read_text())['datasets']
    torch.save(nets[1].state_dict(), 'net.pth')
    assert test(bicubic) == 0
    assert json.loads(Path('results/tiny/metrics.json').read_text())['datasets'] == first


RESULTS = ('metrics.json', 'metrics.csv', 'metrics.md', 'options.yml')


def written(root):
    """What has to be the same in two runs of one evaluation."""
    images = sorted((root / 'visualization').rglob('*.png'))
    return {str(path.relative_to(root)): path.read_bytes() for path in [*(root / name for name in RESULTS), *images]}


def interrupted(monkeypatch, after):
    """Every further batch is lost, as if the process had been killed."""
    write, calls = FinishedBatches.write, []

    def write_or_die(self, *arguments):
        calls.append(arguments)
        if len(calls) > after:
            raise KeyboardInterrupt
        write(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(FinishedBatches, 'write', write_or_die)
        yield


@pytest.fixture
def set_metric(bicubic, monkeypatch):
    """The options with a metric of whole sets among the metrics."""
    monkeypatch.setattr(fid, 'inception_network', lambda weights: StandIn())
    bicubic['val']['metrics'] |= {'fid': {'type': 'FID'}}
    return bicubic


def test_an_interrupted_run_resumed_leaves_the_same_files(folder, set_metric, monkeypatch):
    set_metric['datasets']['test_2']['batch_size_per_gpu'] = 4
    assert test(set_metric) == 0
    whole = written(folder / 'results/tiny')
    assert len(whole) == 4 + 9
    os.rename('results/tiny', 'whole')
    for after in (1, 1, 2):
        for _ in interrupted(monkeypatch, after):
            assert test(set_metric, '--resume') == 3
    assert len(list(Path('results/tiny/.journal').glob('*/*.pth'))) == 4
    with monkeypatch.context() as patch:
        patch.setattr(PSNR, 'forward', counted := Counted(PSNR.forward))
        assert test(set_metric, '--resume') == 0
    assert counted.images == 2  # of nine; the others were finished
    assert written(folder / 'results/tiny') == whole
    assert not Path('results/tiny/.journal').exists()
    assert test(set_metric, '--resume') == 0  # there is nothing left to do
    assert [path.name for path in Path('results').iterdir()] == ['tiny']


def test_a_kill_at_the_very_end_loses_nothing(folder, bicubic, monkeypatch):
    assert test(bicubic) == 0
    root = folder / 'results/tiny'
    whole = written(root)
    os.rename(root, 'whole')
    with monkeypatch.context() as patch:
        patch.setattr(Report, '_rows', killed)  # while the result files are written
        assert test(bicubic) == 3
    assert test(bicubic, '--resume') == 0
    assert written(root) == whole
    (root / '.journal/test_1').mkdir(parents=True)  # while the journal is removed
    assert test(bicubic, '--resume') == 0
    assert written(root) == whole
    assert not (root / '.journal').exists() and [path.name for path in root.parent.iterdir()] == ['tiny']


def killed(*_):
    raise KeyboardInterrupt


class Counted:
    def __init__(self, forward):
        self.forward, self.images = forward, 0

    def __get__(self, metric, _):
        def call(sr, **others):
            self.images += len(sr)
            return self.forward(metric, sr, **others)

        return call


@pytest.mark.parametrize('change', [{'suffix': 'x'}, {'tile': 8}])
def test_what_another_evaluation_has_finished_is_not_taken(folder, bicubic, monkeypatch, change, caplog):
    for _ in interrupted(monkeypatch, 2):
        assert test(bicubic) == 3
    bicubic['val'] |= change
    with caplog.at_level(logging.INFO):
        assert test(bicubic, '--resume') == 0
    assert 'other weights, images or options' in caplog.text
    assert len(list((folder / 'results').glob('tiny_archived_*/.journal'))) == 1


def test_other_weights_are_another_evaluation(folder, bicubic, monkeypatch, caplog):
    bicubic['network_g'], bicubic['path'] = G, {'pretrain_network_g': 'net.pth'}
    for seed in (1, 2):
        torch.manual_seed(seed)
        torch.save({'params': build_network(G).state_dict()}, 'net.pth')
        for _ in interrupted(monkeypatch, 2):
            assert test(bicubic, '--resume') == 3
    assert 'other weights, images or options' in caplog.text


def means(name):
    return json.loads(Path(f'results/{name}/metrics.json').read_text())['datasets']


def test_one_command_evaluates_many_networks(folder, bicubic, capsys):
    bicubic['network_g'], bicubic['path'] = G, {'pretrain_network_g': 'a.pth'}
    for seed, name in enumerate('ab'):
        torch.manual_seed(seed)
        torch.save({'params': build_network(G).state_dict()}, f'{name}.pth')
    assert test(bicubic) == 0
    assert test(bicubic, '--weights', 'one=a.pth', 'none=c.pth', 'two=b.pth') == 2  # one is not there
    assert 'file c.pth not found' in capsys.readouterr().err and not Path('results/none').exists()
    assert means('one') == means('tiny') != means('two')

    Path('other.yml').write_text(
        yaml.safe_dump(bicubic | {'name': 'other', 'network_g': {'type': 'Bicubic', 'scale': 4}, 'path': {}})
    )
    assert main('test', ['-opt', 'test.yml', 'other.yml', '--set', 'val.save_img=false']) == 0
    assert means('tiny') == means('one') != means('other')
    assert 'results of other' not in Path('results/tiny/test.log').read_text()


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['test.yml', 'test.yml'], 'two evaluations have the name tiny, and would write to one folder'),
        (['test.yml', 'none.yml'], 'none.yml'),
        (['test.yml', '--weights', 'one', '=b'], '--weights one =b: write NAME=FILE'),
        (['test.yml', 'test.yml', '--weights', 'one=b'], '--weights goes with one option file'),
    ],
)
def test_what_many_networks_need(folder, bicubic, capsys, arguments, sentence):
    Path('test.yml').write_text(yaml.safe_dump(bicubic))
    assert main('test', ['-opt', *arguments]) == 2
    assert sentence in capsys.readouterr().err and not Path('results').exists()


def test_batches_give_the_same_numbers(folder, bicubic):
    save_image('val/odd.png', read_image('val/0.png')[:56, :64])
    assert test(bicubic) == 0
    one = json.loads(Path('results/tiny/metrics.json').read_text())
    for block in bicubic['datasets'].values():
        block['batch_size_per_gpu'] = 4
    assert test(bicubic) == 0
    batched = json.loads(Path('results/tiny/metrics.json').read_text())
    assert list(batched['images']['textures']) == ['0', '1', '2', 'odd']
    for name, values in one['images']['textures'].items():
        assert batched['images']['textures'][name] == pytest.approx(values, rel=1e-6)


def test_tiles_give_the_same_images(folder, bicubic):
    assert test(bicubic) == 0
    whole = {path.name: read_image(path) for path in Path('results/tiny/visualization/textures').iterdir()}
    assert test(bicubic, '--set', 'val.tile=8', 'val.tile_overlap=4') == 0
    for path in Path('results/tiny/visualization/textures').iterdir():
        assert np.array_equal(read_image(path), whole[path.name])


def spoil(options):
    """One broken, one missing and one mis-sized image among the pairs of a set of six."""
    for path in Path('train').iterdir():
        save_image(Path('lq', path.name), read_image(path)[::4, ::4])
    Path('train/1.png').write_bytes(Path('train/1.png').read_bytes()[:100])
    Path('lq/2.png').unlink()
    save_image('lq/4.png', read_image('lq/4.png')[:9])
    options['datasets'] = {'test_1': {'name': 'pairs', 'type': 'PairedImageDataset', 'dataroot_gt': 'train'}}
    options['datasets']['test_1']['dataroot_lq'] = 'lq'


def test_bad_images_are_all_named(folder, bicubic, capsys):
    spoil(bicubic)
    assert test(bicubic) == 2
    missing, broken, small = capsys.readouterr().err.splitlines()
    assert 'train/2.png: lq has no 2 for it' in missing
    assert 'train/1.png: the file' in broken and 'damaged or truncated' in broken
    assert 'lq/4.png: 9x20 pixels' in small
    assert not Path('results').exists()


def test_bad_images_are_skipped_and_the_result_says_so(folder, bicubic):
    spoil(bicubic)
    assert test(bicubic, '--skip-bad') == 0
    report = json.loads(Path('results/tiny/metrics.json').read_text())
    assert list(report['images']['pairs']) == ['0', '3', '5']
    assert report['left_out']['pairs'].keys() == {'1', '2', '4'}
    table = Path('results/tiny/metrics.md').read_text()
    assert '| pairs | 3 of 6 |' in table and '- pairs: 4 is left out: lq/4.png: 9x20 pixels' in table
    assert 'image 2 is left out' in Path('results/tiny/test.log').read_text()


def test_an_image_that_fails_later_is_skipped_too(folder, bicubic, monkeypatch):
    del bicubic['datasets']['test_2']
    read = source.SOURCES['disk'].read

    def fails(self, path):
        if path.name == '1.png':
            raise UserError(f'{path}: bad in the middle')
        return read(self, path)

    monkeypatch.setattr(source.SOURCES['disk'], 'read', fails)
    assert test(bicubic) == 2
    assert test(bicubic, '--skip-bad') == 0
    report = json.loads(Path('results/tiny/metrics.json').read_text())
    assert report['left_out'] == {'textures': {'1': 'val/1.png: bad in the middle'}}
    assert list(report['images']['textures']) == ['0', '2']


def test_images_too_small_for_a_metric_are_told_before_the_run(folder, bicubic, capsys):
    bicubic['val']['metrics']['ssim'] = {'type': 'calculate_ssim', 'crop_border': 32}
    assert test(bicubic) == 2
    (line, *_) = capsys.readouterr().err.splitlines()
    assert 'val/0.png: too small for ssim: 72 pixels, without crop_border 32 on each side, but SSIM needs 11' in line
    assert not Path('results').exists()


def test_a_metric_that_cannot_run_is_missing_and_the_others_go_on(folder, bicubic, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyiqa', None)
    monkeypatch.setattr(PSNR, 'score', no_number)
    ae = {'type': 'AEPSNR', 'autoencoder_arch': AE, 'autoencoder_load': {'path': 'none.pth'}}
    lpips = {'type': 'LPIPS', 'backbone_weights': 'alex.pth'}
    bicubic['val']['metrics'] |= {'musiq': {'type': 'MUSIQ'}, 'ae': ae, 'lpips': lpips}
    assert test(bicubic) == 0
    report = json.loads(Path('results/tiny/metrics.json').read_text())
    assert report['datasets']['others'].keys() == {'lr_psnr'}
    missing = report['missing']['others']
    assert missing.keys() == {'psnr', 'musiq', 'ae', 'lpips'}
    assert 'pip install' in missing['musiq'] and 'none.pth: file not found' in missing['ae']
    assert 'alex.pth: file not found' in missing['lpips']
    assert missing['psnr'] == 'image 0: the score is NaN (and 5 more images)'
    assert report['protocol']['metrics']['others']['musiq'] == {'metric': 'MUSIQ', 'better': 'higher'}
    header, _, first, *_ = Path('results/tiny/metrics.md').read_text().splitlines()
    assert header == '| data set | images | ae | lpips | lr_psnr | musiq | psnr |'
    assert first.startswith('| textures | 3 | - |') and first.endswith('| - | - |')


def no_number(self, sr, gt):
    return torch.full((len(sr),), torch.nan)


def test_a_metric_with_a_mistake_in_it_costs_no_other_its_numbers(folder, bicubic, monkeypatch, caplog):
    monkeypatch.setattr(METRICS, '_parts', dict(METRICS._parts))

    @METRICS.register()
    class Silent(PSNR):
        def score(self, sr, gt):
            return sr[:0]

    @METRICS.register()
    class Broken(PSNR):
        def score(self, sr, gt):
            return 1 / 0

    @METRICS.register()
    class Absent(PSNR):
        def __init__(self, crop_border: int = 0):
            import no_such_package  # noqa: F401

    bicubic['val']['metrics'] |= {name.lower(): {'type': name} for name in ('Silent', 'Broken', 'Absent')}
    assert test(bicubic) == 0
    report = json.loads(Path('results/tiny/metrics.json').read_text())
    assert report['datasets']['textures'].keys() == {'psnr', 'lr_psnr'}
    missing = report['missing']['textures']
    assert 'Silent returned 0 scores for 1 images' in missing['silent']
    assert 'ZeroDivisionError: division by zero' in missing['broken'] and '1 / 0' in caplog.text
    assert "Absent needs cannot be used: No module named 'no_such_package'" in missing['absent']


def test_json_has_no_bare_infinity(folder, bicubic, monkeypatch):
    monkeypatch.setattr('aesop.metrics.psnr_ssim.psnr', lambda a, b, eps: torch.full((len(a),), torch.inf))
    assert test(bicubic) == 0
    text = Path('results/tiny/metrics.json').read_text()
    report = json.loads(text, parse_constant=pytest.fail)
    assert float(report['datasets']['textures']['psnr']) == float('inf')
    assert '| inf |' in Path('results/tiny/metrics.md').read_text()


def test_luma_images(folder, bicubic):
    for block in bicubic['datasets'].values():
        block['color'] = 'y'
    assert test(bicubic) == 0
    grey = json.loads(Path('results/tiny/metrics.json').read_text())
    assert read_image('results/tiny/visualization/textures/0.png').shape == (72, 80, 3)
    assert grey['protocol']['metrics']['textures']['psnr']['colour'] == 'Y (BT.601), of the data set'
    for block in bicubic['datasets'].values():
        del block['color']
    assert test(bicubic) == 0
    colour = json.loads(Path('results/tiny/metrics.json').read_text())
    assert grey['datasets']['textures']['psnr'] == pytest.approx(colour['datasets']['textures']['psnr'], abs=0.1)


def test_published_numbers_stand_beside(folder, bicubic, capsys):
    bicubic['datasets']['test_1']['name'] = 'Urban100'
    assert test(bicubic, '--set', 'published=RRDB AESOP 128') == 0
    report = json.loads(Path('results/tiny/metrics.json').read_text())
    assert report['published'] == 'RRDB AESOP 128' and report['comparison'].keys() == {'Urban100'}
    (row, *_) = report['comparison']['Urban100']['psnr']
    assert row['published'] == 25.630 and row['table'] == 'Table 1'
    assert row['difference'] == pytest.approx(report['datasets']['Urban100']['psnr'] - 25.630)
    _, _, _, published, difference, *_ = Path('results/tiny/metrics.md').read_text().splitlines()
    assert (
        published == '| published: RRDB AESOP 128 |  | 46.280 | 25.630 |' and f'{row["difference"]:+.3f}' in difference
    )
    assert test(bicubic, '--set', 'published=RRDB AESOP 64') == 2
    assert '"RRDB AESOP 64" is not a published column' in capsys.readouterr().err


@pytest.mark.skipif(not (SHARED / 'data').is_dir(), reason='needs the benchmark images in ../shared/data')
def test_bicubic_gives_the_published_numbers_on_set5_and_set14(folder):
    (folder / 'datasets').symlink_to(SHARED / 'data')
    assert main('test', ['-opt', str(ROOT / 'options/test_bicubic.yml'), '--set', 'val.save_img=false']) == 0
    values = json.loads(Path('results/Bicubic_x4/metrics.json').read_text())['datasets']
    assert (round(values['Set5']['psnr'], 2), round(values['Set5']['ssim'], 4)) == (28.43, 0.8113)
    assert (round(values['Set14']['psnr'], 2), round(values['Set14']['ssim'], 4)) == (26.09, 0.7049)
