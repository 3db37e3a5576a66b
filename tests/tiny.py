"""What makes a run of any option file take a second: small networks, few and random images, no pretrained weights."""

import inspect
import json
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from aesop.archs import vgg as vgg_module
from aesop.archs.backbones import backbone_state_dict
from aesop.archs.spandrel import classes
from aesop.metrics import dists, fid, lpips, no_reference
from aesop.registry import ARCHS
from aesop.utils.images import save_image

PATCH = 32
SMALL = {'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4, 'input_size': PATCH, 'num_expert': 3}
SMALL |= {'img_size': 8, 'window_size': 4, 'depths': [1, 2], 'embed_dim': 8, 'num_heads': [2, 2]}
SMALL |= {'squeeze_factor': 4}  # HAT
SMALL |= {'num_latent': 8, 'num_scales': 1}  # RefVAE and its discriminator
SMALL |= {'nf': 8, 'nb': 20, 'gc': 4}  # SPSRNet's gradient branch looks at the 20th block


@contextmanager
def stand_ins(folder):
    """Random VGG19 and AlexNet features in AESOP_WEIGHTS, under the names that the option files and torchvision use.

    The runs share what is read from them: to build LPIPS takes longer than all else that a small run does. The networks
    of the other metrics, which take seconds an image, are stand-ins.
    """
    torch.manual_seed(0)
    vgg = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs['E'])
    for name, features in (
        ('vgg19_features_fp16.pth', vgg.half()),
        ('alexnet.pth', torchvision.models.alexnet().features),
    ):
        torch.save({f'features.{key}': tensor for key, tensor in features.state_dict().items()}, folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('AESOP_WEIGHTS', str(folder))
        patch.setattr(vgg_module, 'backbone_state_dict', cache(backbone_state_dict))
        patch.setattr(lpips, 'lpips_network', cache(lpips.lpips_network))
        patch.setattr(dists, 'dists_network', lambda weights: StandIn())
        patch.setattr(fid, 'inception_network', lambda weights: StandIn())
        patch.setattr(no_reference, 'pyiqa_network', lambda name: StandIn())
        patch.setattr(no_reference, 'version', lambda package: 'stand-in')
        yield


@pytest.fixture(scope='module')
def backbones(tmp_path_factory):
    """`stand_ins` in a folder of their own."""
    with stand_ins(tmp_path_factory.mktemp('weights')):
        yield


class StandIn(torch.nn.Module):
    """Four features of (N, 3, H, W), whatever a metric's network would give."""

    def forward(self, images, *others, **options):
        quarters = torch.nn.functional.adaptive_avg_pool2d(images.float(), 2).mean(1).flatten(1)
        return quarters if images.dtype == torch.uint8 else quarters[:, 0]


def small(block):
    """A network block with the same types at the smallest size."""
    if block['type'].startswith('VGGStyleDiscriminator'):
        block = block | {'type': 'VGGStyleDiscriminator'}  # the numbered ones take patches of that size alone
    network = classes()[block['arch']] if block['type'] == 'Spandrel' else ARCHS.get(block['type'])
    arguments = inspect.signature(network).parameters
    block = block | {name: value for name, value in SMALL.items() if name in arguments}
    if 'dec_opt' in arguments:
        block['dec_opt'] = small(block['dec_opt'])
    if block.get('enc_opt'):
        encoder = small({'type': 'RRDBEncoder', **block['enc_opt']})
        if encoder['type'] == 'RRDBEncoder':
            encoder['num_feat'] = 3 * block['dec_opt'].get('scale', 4) ** 2  # narrower, no colour would pass it
        block['enc_opt'] = encoder
    return block


def changes(block, place=''):
    """Overrides that make every network small, wherever it stands, and take pretrained weights and lists away."""
    for key, value in block.items():
        if key in ('network_g', 'network_d', 'network_d_grad', 'autoencoder_arch') and value:
            yield f'{place}{key}={json.dumps(small(value))}'
        elif key in ('autoencoder_load', 'meta_info') or key.startswith('pretrain_network_'):
            yield f'{place}{key}=~'
        elif isinstance(value, dict):
            yield from changes(value, f'{place}{key}.')


def overrides(options):
    """What makes a run of the options take a second."""
    yield 'num_gpu=0'
    yield from changes(options.to_dict())
    yield from (f'datasets.{key}.ref_size={PATCH}' for key, block in options.datasets.items() if block.get('ref'))
    if options.val.solutions > 1:
        yield 'val.solutions=2'
    if options.train:
        loader = {'gt_size': PATCH, 'batch_size_per_gpu': 2, 'num_worker_per_gpu': 0}
        if options.datasets['train']['type'] == 'RealESRGANDataset':
            loader['crop_size'] = PATCH + 16
            yield from (f'gt_size={PATCH}', 'queue_size=4')
        yield from (f'datasets.train.{key}={value}' for key, value in loader.items())
        yield from ('train.total_iter=2', 'val.val_freq=2', 'logger.save_checkpoint_freq=2')
        yield 'logger.use_tb_logger=false'


def make_images(options):
    """Two images for each folder of each data set, where the options look for them (NIQE takes 192 pixels and more)."""
    rng = np.random.default_rng(0)
    for block in options.datasets.values():
        for key, factor in (
            ('dataroot_gt', options.scale),
            ('dataroot_ref', 2),
            ('dataroot_lq', 1 if 'dataroot_gt' in block else 3),
        ):
            for number in range(2 if block.get(key) else 0):
                noise = rng.integers(0, 256, (16 * factor, 18 * factor, 3), dtype=np.uint8)
                save_image(Path(block[key]) / f'{number}.png', noise)
