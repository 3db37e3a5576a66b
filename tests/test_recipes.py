"""Every option file runs: small networks, few and random images, no pretrained weights; the rest as it is written.

A file is a recipe if it says its own `name`; the others have to be the base of one, so that none can be left out.
"""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
import yaml

from aesop.archs import build_network
from aesop.engine.cli import main
from aesop.images import save_image
from aesop.options import load_options
from aesop.registry import ARCHS

ROOT = Path(__file__).parents[1]
FILES = {path.relative_to(ROOT / 'options').as_posix(): path for path in sorted((ROOT / 'options').rglob('*.yml'))}
WRITTEN = {name: yaml.safe_load(path.read_text()) for name, path in FILES.items()}
RECIPES = [name for name, data in WRITTEN.items() if 'name' in data]
PUBLISHED = [name for name in RECIPES if name.startswith('train_')]

PATCH = 32
SMALL = {'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4, 'input_size': PATCH}
RRDB, AE, VGG128 = 16_697_987, 18_175_754, 14_499_401
PARAMETERS = {  # of the generator (or auto-encoder), the discriminator and the loss's auto-encoder
    'train_psnr_rrdb.yml': [RRDB, None, None],
    'train_ae_rrdb.yml': [AE, None, None],
    'train_aesop_rrdb.yml': [RRDB, VGG128, AE],
}


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """A folder of random VGG19 and AlexNet features, under the names that the option files and torchvision use."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('weights')
    vgg = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs['E'])
    for name, features in (
        ('vgg19_features_fp16.pth', vgg.half()),
        ('alexnet.pth', torchvision.models.alexnet().features),
    ):
        torch.save({f'features.{key}': tensor for key, tensor in features.state_dict().items()}, folder / name)
    return folder


def small(block):
    """A network block with the same types at the smallest size."""
    if block['type'].startswith('VGGStyleDiscriminator'):
        block = block | {'type': 'VGGStyleDiscriminator'}  # the numbered ones take patches of that size alone
    arguments = inspect.signature(ARCHS.get(block['type'])).parameters
    block = block | {name: value for name, value in SMALL.items() if name in arguments}
    if 'dec_opt' in arguments:
        encoder = small({'type': 'RRDBEncoder', **block.get('enc_opt', {})})
        if encoder['type'] == 'RRDBEncoder':
            encoder['num_feat'] = 3 * block['dec_opt'].get('scale', 4) ** 2  # narrower, no colour would pass it
        block |= {'dec_opt': small(block['dec_opt']), 'enc_opt': encoder}
    return block


def changes(block, place=''):
    """Overrides, for every network wherever it stands, that make it small, and that take pretrained weights away."""
    for key, value in block.items():
        if key in ('network_g', 'network_d', 'autoencoder_arch') and value:
            yield f'{place}{key}={json.dumps(small(value))}'
        elif key == 'autoencoder_load' or key.startswith('pretrain_network_'):
            yield f'{place}{key}=~'
        elif isinstance(value, dict):
            yield from changes(value, f'{place}{key}.')


def overrides(options):
    """What makes a run of the recipe take a second."""
    yield 'num_gpu=0'
    yield from changes(options.to_dict())
    if options.train:
        loader = {'gt_size': PATCH, 'batch_size_per_gpu': 2, 'num_worker_per_gpu': 0}
        yield from (f'datasets.train.{key}={value}' for key, value in loader.items())
        yield from ('train.total_iter=2', 'val.val_freq=2', 'logger.save_checkpoint_freq=2')
        yield 'logger.use_tb_logger=false'


def make_images(options):
    """Two images for each folder of each data set, where the recipe looks for them."""
    rng = np.random.default_rng(0)
    for block in options.datasets.values():
        for key, factor in (('dataroot_gt', options.scale), ('dataroot_lq', 1)):
            for number in range(2 if key in block else 0):
                noise = rng.integers(0, 256, (16 * factor, 18 * factor, 3), dtype=np.uint8)
                save_image(Path(block[key]) / f'{number}.png', noise)


@pytest.mark.parametrize('name', RECIPES)
def test_a_recipe_runs(name, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('AESOP_WEIGHTS', str(weights))
    options = load_options(FILES[name])
    make_images(options)
    mode = 'train' if options.train else 'test'
    assert main(mode, ['-opt', str(FILES[name]), '--set', *overrides(options)]) == 0

    if mode == 'train':
        run = Path('experiments') / options.name
        states = {path.name: torch.load(path, weights_only=True) for path in (run / 'models').glob('*_2.pth')}
        assert states.keys() == ({'net_g_2.pth', 'net_d_2.pth'} if options.network_d else {'net_g_2.pth'})
        assert all(t.isfinite().all() for file in states.values() for net in file.values() for t in net.values())
        trained, average = (states['net_g_2.pth'][key].values() for key in ('params', 'params_ema'))
        assert not all(torch.equal(now, mean) for now, mean in zip(trained, average))  # it moved
        results = json.loads((run / 'metrics.jsonl').read_text().splitlines()[-1])
        assert results['iter'] == 2
    else:
        results = json.loads(Path(f'results/{options.name}/metrics.json').read_text())
        assert all(len(images) == 2 for images in results['images'].values())
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


@pytest.mark.parametrize('name', PUBLISHED)
def test_full_size_networks_have_the_published_number_of_parameters(name):
    options = load_options(FILES[name])
    blocks = [options.network_g, options.network_d, (options.train.aesop_opt or {}).get('autoencoder_arch')]
    with torch.device('meta'):
        built = [build_network(block) if block else None for block in blocks]
    assert [net and sum(p.numel() for p in net.parameters()) for net in built] == PARAMETERS[name]


def test_every_published_recipe_is_described():
    page = (ROOT / 'docs/recipes.md').read_text()
    assert [name for name in PUBLISHED if f'options/{name}' not in page] == []
