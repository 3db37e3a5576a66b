"""Sizes that no machine has end in a sentence before anything of that size is made."""

import pytest
import torch

from aesop.archs import build_network
from aesop.errors import UserError
from aesop.models import limits
from aesop.options import load_options
from tests.runs import ADAM, G

OPTIONS = {
    'model_type': 'SRModel',
    'scale': 4,
    'network_g': G,
    'datasets': {'train': {'type': 'BicubicImageDataset', 'dataroot_gt': 'hr', 'gt_size': 32}},
    'train': {'total_iter': 1, 'optim_g': ADAM, 'pixel_opt': {'type': 'L1Loss'}},
}
SWIN = '{type: SwinIR, window_size: 4, img_size: 8, depths: [1], num_heads: [2], embed_dim: 8'


@pytest.mark.parametrize(
    ('change', 'told'),
    [
        ('network_g.num_feat=2147483648', 'num_feat: must be at most 100,000'),
        ('network_g.num_feat=90000', 'network_g: its weights take with gradients and optimiser more than .* GB, and'),
        ('network_g.num_block=1000000000', 'num_block: must be at most 100,000'),
        (f'network_g={SWIN}, mlp_ratio: 1e9}}', 'network_g: its weights take .* more than .* GB, but this machine has'),
        (f'network_g={SWIN}, mlp_ratio: 1e300}}', 'network_g: SwinIR cannot be built'),
        ('network_g.num_out_ch=48', 'num_out_ch: RRDBNet outputs 48 channels, but the images have 3'),
        ('datasets.train.num_worker_per_gpu=100000', 'num_worker_per_gpu: must be at most 1024'),
        ('datasets.train.batch_size_per_gpu=1000000000', 'gt_size: 1000000000 images of 32x32 pixels take .* GB'),
        ('datasets.train.gt_size=4000000', 'gt_size: 1 images of 4000000x4000000 pixels take .* GB'),
    ],
)
def test_a_size_that_no_machine_has(change, told):
    with pytest.raises(UserError, match=told):
        load_options(OPTIONS, [change])


def test_channels_are_looked_at_in_a_test_too():
    data = {'test': {'type': 'PairedImageDataset', 'dataroot_gt': 'hr', 'dataroot_lq': 'lr'}}
    block = {'model_type': 'SRModel', 'scale': 4, 'network_g': G, 'datasets': data}
    with pytest.raises(UserError, match='num_out_ch: RRDBNet outputs one channel, but the images have 3, RGB'):
        load_options(block, ['network_g.num_out_ch=1'])


def test_a_network_of_too_many_tensors_ends_early(monkeypatch):
    monkeypatch.setattr(limits, 'MAX_TENSORS', 50)
    with torch.device('meta'), limits.limit_weights():
        build_network({**G, 'num_block': 1})
        with pytest.raises(UserError, match='more than 50 weight tensors'):
            build_network({**G, 'num_block': 5000})
    build_network({**G, 'num_block': 2})  # the limit is gone


def test_memory_that_nobody_tells_is_no_limit(monkeypatch):
    monkeypatch.setattr(limits, 'memory', lambda: None)
    with torch.device('meta'), limits.limit_weights():
        torch.nn.Linear(10**6, 10**6)
