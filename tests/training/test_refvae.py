"""RefVAE in a whole run: references and noise come again after a stop, on one process and on two."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from aesop.data import build_dataset
from aesop.evaluation.evaluate import build_metrics, evaluate
from aesop.models import build_model
from aesop.options import load_options
from aesop.utils.images import save_image
from tests.archs.test_refvae import vgg_r41  # noqa: F401  (a fixture)

from .test_loop import ROOT, torchrun, train

D = {'type': 'MultiScaleDiscriminator', 'num_feat': 4, 'num_scales': 1}


@pytest.fixture
def refvae(folder, options, vgg_r41):  # noqa: F811
    """The options of a run of a small RefVAE at x4, whose references come from a folder of five."""
    rng = np.random.default_rng(1)
    for number in range(5):
        save_image(folder / f'refs/{number}.png', rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    references = {'ref': 'folder', 'dataroot_ref': 'refs', 'ref_size': 32}
    for block in options['datasets'].values():
        block |= references
    small = {'num_feat': 16, 'num_latent': 8, 'vgg_width': 8, 'vgg_weights': vgg_r41['small']}
    adam = options['train']['optim_g']
    options |= {'model_type': 'SRGANModel', 'network_g': {'type': 'RefVAE', 'scale': 4, **small}, 'network_d': D}
    options['train'] |= {
        'pixel_opt': None,
        'optim_d': dict(adam),
        'losses': {
            'size': {'type': 'MultiSizeL1Loss', 'reduction': 'sum'},
            'lr': {'type': 'LRConsistencyLoss', 'reduction': 'sum'},
            'kl': {'type': 'KLLoss', 'loss_weight': 0.1},
            'features': {'type': 'GANFeatLoss', 'reduction': 'sum', 'loss_weight': 0.01},
        },
        'gan_opt': {
            'type': 'GANLoss',
            'gan_type': 'l1',
            'reduction': 'sum',
            'real_label_val': [0.7, 1.2],
            'fake_label_val': [0.0, 0.3],
        },
    }
    options['val'] |= {'solutions': 2}
    return options


def final_state(name):
    return torch.load(f'experiments/{name}/training_states/6.state', weights_only=True)['model']


def alike(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_a_run_that_was_stopped_ends_with_the_same_bits(refvae):
    assert train(refvae | {'name': 'whole'}) == 0
    assert train(refvae, '--set', 'train.total_iter=4') == 0
    assert train(refvae, '--auto_resume') == 0
    assert alike(final_state('whole'), final_state('tiny'))
    whole, resumed = (
        [json.loads(line) for line in Path(f'experiments/{name}/metrics.jsonl').read_text().splitlines()]
        for name in ('whole', 'tiny')
    )
    assert whole[-1]['datasets'] == resumed[-1]['datasets']


def test_two_ranks_measure_what_they_save(refvae):
    """BatchNorm of each rank has statistics of its own; those of rank 0 are saved, and all ranks validate with them."""
    Path('run.yml').write_text(yaml.safe_dump(refvae))
    code, said = torchrun(str(ROOT / 'train.py'), '-opt', 'run.yml', '--launcher', 'pytorch')
    assert code == 0, said
    line = json.loads(Path('experiments/tiny/metrics.jsonl').read_text().splitlines()[-1])

    weights = ['path.pretrain_network_g=experiments/tiny/models/net_g_6.pth', 'path.param_key_g=params_ema']
    options = load_options('run.yml', weights)
    dataset = build_dataset(options.datasets['val'], scale=options.scale, seed=options.manual_seed)
    metrics = build_metrics(options, ['val'], 'cpu')
    alone = evaluate(build_model(options, 'cpu'), dataset, metrics['val']).mean
    assert alone['psnr'] == pytest.approx(line['datasets']['textures']['psnr'], abs=1e-6)


def test_a_reference_that_is_broken_or_missing_stops_the_run_before_it_starts(refvae, capsys):
    Path('refs/3.png').write_bytes(b'')
    assert train(refvae) == 2
    assert 'refs/3.png' in capsys.readouterr().err
    refvae['datasets']['train']['dataroot_ref'] = 'nowhere'
    assert train(refvae) == 2
    assert 'nowhere: folder not found' in capsys.readouterr().err
    assert not Path('experiments/tiny').exists()
