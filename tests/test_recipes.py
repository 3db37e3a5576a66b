"""Every option file runs, made small; and at full size its networks are those of the published checkpoints.

A file is a recipe if it says its own `name`; the others have to be the base of one, so that none can be left out.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from aesop.archs import build_network
from aesop.cli.runs import main
from aesop.models import sr
from aesop.options import load_options
from tests.tiny import backbones, make_images, overrides  # noqa: F401  (a fixture)

ROOT = Path(__file__).parents[1]
FILES = {path.relative_to(ROOT / 'options').as_posix(): path for path in sorted((ROOT / 'options').rglob('*.yml'))}
WRITTEN = {name: yaml.safe_load(path.read_text()) for name, path in FILES.items()}
RECIPES = [name for name, data in WRITTEN.items() if 'name' in data]
COMPLETE = [name for name in FILES if not name.startswith('common/')]  # those in common/ are loaded as bases
PUBLISHED = [name for name in RECIPES if not name.startswith(('demo/', 'own/', 'small/'))]

PARAMETERS = {
    'Bicubic': 0,
    'RRDBNet': 16_697_987,
    'MSRResNet': 1_517_571,
    'SwinIR': 11_900_199,
    'DRCT': 14_139_579,
    'HAT': 20_772_507,
    'SPSRNet': 24_796_248,
    'AutoEncoder_RRDBNet': 18_175_754,
    'AutoEncoder_RRDBNet x8': 22_050_798,
    'AutoEncoder_MSRResNet': 2_995_338,  # the same encoder
    'BicubicDown_RRDBNet': 16_697_987,
    'VGGStyleDiscriminator128': 14_499_401,
    'VGGStyleDiscriminator256': 21_055_049,
    'UNetDiscriminatorSN': 4_376_897,
    'MOD': 2_683_841,
    'RefVAE': 33_924_675,
    'VAE_v3_8x': 33_924_675,
    'MultiScaleDiscriminator': 691_777,
    'discriminator_v2': 691_777,
}


@cache
def loaded(name):
    return load_options(FILES[name])


@pytest.mark.parametrize('name', COMPLETE)
def test_it_loads_again_from_what_it_resolves_to(name, monkeypatch):
    options = loaded(name)
    monkeypatch.setattr(sr, 'dry_run', lambda *_: [])  # equal options fit as well as these
    assert load_options(options.to_dict()) == options


@pytest.mark.usefixtures('backbones')
@pytest.mark.parametrize('name', RECIPES)
def test_a_recipe_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = loaded(name)
    make_images(options)
    mode = 'train' if options.train else 'test'
    assert main(mode, ['-opt', str(FILES[name]), '--set', *overrides(options)]) == 0

    if mode == 'train':
        run = Path('experiments') / options.name
        states = {path.stem[:-2]: torch.load(path, weights_only=True) for path in (run / 'models').glob('*_2.pth')}
        assert states.keys() == {f'net_{n}' for n in ('g', 'd', 'd_grad') if getattr(options, f'network_{n}', None)}
        assert all(t.isfinite().all() for file in states.values() for net in file.values() for t in net.values())
        if options.train.ema_decay:
            trained, average = (states['net_g'][key].values() for key in ('params', 'params_ema'))
            assert not all(torch.equal(now, mean) for now, mean in zip(trained, average))  # it moved
        results = json.loads((run / 'metrics.jsonl').read_text().splitlines()[-1])
        assert results['iter'] == 2
    else:
        results = json.loads(Path(f'results/{options.name}/metrics.json').read_text())
        assert all(len(images) == 2 for images in results['images'].values())
        is_refvae = options.network_g['type'] == 'RefVAE'
        assert ("torchvision's, ImageNet normalisation" in results['protocol'].get('vgg', '')) == is_refvae
    validated = {key: block for key, block in options.datasets.items() if key != 'train'}
    for key, block in validated.items():
        metrics = results['datasets'][block.get('name', key)]
        assert metrics.keys() >= (block.get('metrics') or options.val.metrics).keys()
        assert np.isfinite(list(metrics.values())).all()


def test_no_option_file_is_left_out():
    bases = set()
    for name, data in WRITTEN.items():
        named = data.get('base', [])
        bases |= {(FILES[name].parent / base).resolve() for base in ([named] if isinstance(named, str) else named)}
    assert [name for name in FILES.keys() - set(RECIPES) if FILES[name].resolve() not in bases] == []


def test_the_small_study_trains_on_no_image_of_set5():
    """BSDS400 has one, larger: `aesop check` finds it."""
    for stage in ('psnr', 'ae', 'esrgan', 'ldl', 'aesop'):
        sets = loaded(f'small/{stage}.yml').datasets
        trained, validated = ((ROOT / sets[key]['meta_info']).read_text().split() for key in ('train', 'val'))
        assert len({*trained, *validated}) == len(trained) + len(validated) == 399
        assert 'train_302003.jpg' not in trained


def test_no_two_recipes_share_a_folder():
    for mode in ('train', 'test'):
        names = [loaded(name).name for name in PUBLISHED if Path(name).name.startswith(f'{mode}_')]
        assert len(names) == len(set(names))


def called(block):
    """The network's name in PARAMETERS: an auto-encoder of another scale is another network."""
    name = block.get('arch', block['type'])
    return f'{name} x8' if (block.get('dec_opt') or {}).get('scale') == 8 else name


def test_full_size_networks_have_the_published_number_of_parameters():
    blocks = {}
    for name in PUBLISHED:
        options = loaded(name)
        autoencoder = ((options.train and options.train.aesop_opt) or {}).get('autoencoder_arch')
        networks = [getattr(options, f'network_{name}', None) for name in ('g', 'd', 'd_grad')]
        for block in (*networks, autoencoder):
            if block:
                block = {key: value for key, value in block.items() if key != 'use_checkpoint'}
                blocks[json.dumps(block, sort_keys=True)] = block
    assert set(map(called, blocks.values())) == PARAMETERS.keys()
    for block in blocks.values():
        with torch.device('meta'):
            net = build_network(block)
        assert sum(p.numel() for p in net.parameters()) == PARAMETERS[called(block)], block


def test_every_published_recipe_is_described():
    page = (ROOT / 'docs/recipes.md').read_text()
    assert [name for name in PUBLISHED if f'options/{name}' not in page] == []
