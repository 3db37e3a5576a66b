"""Every network of the published code that is here: same names, same shapes, same outputs."""

import copy
import hashlib
import json

import pytest
import torch

from aesop.archs import build_network
from aesop.errors import UserError
from aesop.registry import ARCHS
from aesop.utils import checkpoint
from tests.golden import fill_, image

SMALL = [
    'RRDBNet_x4',
    'RRDBNet_x2',
    'RRDBNet_x1',
    'MSRResNet_x4',
    'MSRResNet_x3',
    'AutoEncoder_RRDBNet',
    'AutoEncoder_MSRResNet',
    'BicubicDown_RRDBNet',
    'VGGStyleDiscriminator128',
    'VGGStyleDiscriminator256',
    'SwinIR_x4',
    'SwinIR_light_x4',
    'SwinIR_real_x4',
    'DRCT_x4',
    'SPSRNet_x4',
    'UNetDiscriminatorSN',
]
FULL_SIZE = [
    'RRDBNet',
    'AutoEncoder_RRDBNet',
    'VGGStyleDiscriminator128',
    'VGGStyleDiscriminator256',
    'SwinIR',
    'DRCT',
    'SPSRNet',
    'UNetDiscriminatorSN',
]


def test_no_published_network_is_left_out(reference):
    assert set(SMALL) == set(reference['small'])
    assert set(FULL_SIZE) == set(reference['full_size'])


@pytest.mark.parametrize('name', SMALL)
def test_output_equals_the_published_network(reference, name):
    entry = reference['small'][name]
    net = fill_(build_network(entry['config']))
    net.load_state_dict(entry['tensors'], strict=False)
    with torch.no_grad():
        output = net(image(*entry['input_shape']))
    assert output.shape == entry['output'].shape
    assert (output - entry['output']).abs().max() <= 1e-5 * entry['output'].abs().max()


@pytest.mark.parametrize('name', SMALL)
def test_saved_names_and_shapes_are_the_published_ones(reference, name):
    entry = reference['small'][name]
    published = entry['state_dict']
    if name == 'BicubicDown_RRDBNet':  # the published file carries an encoder that nothing uses
        published = {key: shape for key, shape in published.items() if key.startswith('decoder.')}
    saved = checkpoint.network_state_dict(build_network(entry['config']))
    assert {key: list(tensor.shape) for key, tensor in saved.items()} == published


@pytest.mark.parametrize('name', FULL_SIZE)
def test_full_size_networks_are_the_published_ones(reference, name):
    entry = reference['full_size'][name]
    with torch.device('meta'):
        net = build_network(entry['config'])
    assert sum(p.numel() for p in net.parameters()) == entry['parameters']
    shapes = {key: list(tensor.shape) for key, tensor in net.state_dict().items()}
    for prefix, alias in getattr(net, 'published_aliases', {}).items():
        shapes |= {alias + key[len(prefix) :]: shape for key, shape in shapes.items() if key.startswith(prefix)}
    assert len(shapes) == entry['names']
    assert hashlib.sha256(json.dumps(sorted(shapes.items())).encode()).hexdigest() == entry['sha256']


def test_building_leaves_the_block_unchanged():
    block = {
        'type': 'AutoEncoder_RRDBNet',
        'enc_opt': {'placeholder': 0},
        'dec_opt': {'type': 'RRDBNet', 'num_feat': 48, 'num_block': 1, 'num_grow_ch': 8},
    }
    before = copy.deepcopy(block)
    build_network(block)
    assert block == before


def test_an_unknown_network_is_told_with_the_nearest_name():
    with pytest.raises(UserError, match='unknown network "RRDBNett". Did you mean "RRDBNet"'):
        build_network({'type': 'RRDBNett'})


def test_every_published_name_of_this_room_is_registered():
    assert {
        'RRDBNet',
        'MSRResNet',
        'AutoEncoder_RRDBNet',
        'AutoEncoder_MSRResNet',
        'BicubicDown_RRDBNet',
        'VGGStyleDiscriminator',
        'VGGStyleDiscriminator128',
        'VGGStyleDiscriminator192',
        'VGGStyleDiscriminator256',
        'UNetDiscriminatorSN',
        'Discriminator_PatchGAN',
        'SwinIR',
        'DRCT',
        'SPSRNet',
        'RRDBNet_LEGACY',
        'RRDB_BSRGANNet',
        'SRVGGNetCompact',
    } <= set(ARCHS.names())
