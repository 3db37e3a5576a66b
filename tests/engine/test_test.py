import csv
import json
from pathlib import Path

import pytest
import torch
import yaml

from aesop.engine.cli import main
from aesop.images import read_image

from .test_train import ROOT, torchrun

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
    from aesop.archs import build_network

    from .conftest import G

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


@pytest.mark.skipif(not (SHARED / 'data').is_dir(), reason='needs the benchmark images in ../shared/data')
def test_bicubic_gives_the_published_numbers_on_set5_and_set14(folder):
    (folder / 'datasets').symlink_to(SHARED / 'data')
    assert main('test', ['-opt', str(ROOT / 'options/test_bicubic.yml'), '--set', 'val.save_img=false']) == 0
    values = json.loads(Path('results/Bicubic_x4/metrics.json').read_text())['datasets']
    assert (round(values['Set5']['psnr'], 2), round(values['Set5']['ssim'], 4)) == (28.43, 0.8113)
    assert (round(values['Set14']['psnr'], 2), round(values['Set14']['ssim'], 4)) == (26.09, 0.7049)
