"""Sizes that no machine has end in a sentence before anything of that size is made."""

import pytest
import torch

from aesop.archs import build_network
from aesop.errors import UserError
from aesop.models import limits
from aesop.models.dry_run import Kept
from aesop.options import load_options
from tests.runs import ADAM, G

OPTIONS = {
    'model_type': 'SRModel',
    'scale': 4,
    'network_g': G,
    'datasets': {'train': {'type': 'BicubicImageDataset', 'dataroot_gt': 'hr', 'gt_size': 32}},
    'train': {'total_iter': 1, 'optim_g': ADAM, 'pixel_opt': {'type': 'L1Loss'}},
}
SWIN = '{type: SwinIR, window_size: 4, depths: [1], embed_dim: 8'


@pytest.mark.parametrize(
    ('change', 'told'),
    [
        ('network_g.num_feat=2147483648', 'num_feat: must be at most 100,000'),
        ('network_g.num_feat=90000', 'network_g: its weights take with gradients and optimiser more than .* GB, but'),
        ('network_g.num_block=1000000000', 'num_block: must be at most 100,000'),
        (
            f'network_g={SWIN}, num_heads: [2], mlp_ratio: 1e9}}',
            'network_g: its weights take .* more than .* GB, but this machine has',
        ),
        (f'network_g={SWIN}, num_heads: [2], mlp_ratio: 1e300}}', 'network_g: SwinIR cannot be built'),
        (
            f'network_g={SWIN}, num_heads: [2], ape: true, img_size: 100000}}',
            'network_g: its weights take .* GB, but this machine has',
        ),
        (f'network_g={SWIN}, num_heads: [3]}}', 'network_g: 8 channels cannot be shared among 3 heads'),
        (f'network_g={SWIN}, num_heads: [2, 2]}}', 'network_g: depths has 1 entries and num_heads 2'),
        (
            'network_g={type: RRDBNet_LEGACY, nf: 8, nb: 1, gc: 4, out_nc: 1}',
            'out_nc: RRDBNet_LEGACY outputs one channel',
        ),
        (
            'network_g={type: AutoEncoder_RRDBNet, dec_opt: {type: RRDBNet, num_feat: 48, num_block: 1, num_in_ch: 5}}',
            'network_g: AutoEncoder_RRDBNet does not accept lq of these shapes: Invalid channel dimensions',
        ),
        (
            'network_g={type: MSRResNet, num_feat: 8, num_out_ch: 48}',
            'network_g: MSRResNet does not accept lq of these',
        ),
        ('network_g.num_in_ch=1', 'num_in_ch: is 1, but the images have 3, RGB'),
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


def test_what_a_step_takes():
    """Weights exactly; what is kept, compared with a real pass."""
    block = {
        **OPTIONS,
        'network_g': {'type': 'MSRResNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 16, 'num_block': 2},
    }
    options = load_options(block, ['datasets.train.batch_size_per_gpu=6'])
    weights, kept = options.step_memory
    net = build_network(options.network_g)
    assert weights == limits.TRAINED * 4 * sum(p.numel() for p in net.parameters())
    of_six = Kept(net)
    with of_six:
        net(torch.rand(6, 3, 8, 8))
    assert 0.5 * of_six.size < kept < 1.5 * of_six.size  # activations' outputs are passed over, the loss is added
    twice = load_options(block, ['datasets.train.batch_size_per_gpu=12']).step_memory
    assert twice == (weights, 2 * kept)
    average = load_options(block, ['train.ema_decay=0.9']).step_memory
    assert average[0] == weights * 5 / 4
    assert (
        load_options(block, ['runtime.precision=bf16', 'datasets.train.batch_size_per_gpu=12']).step_memory[1] == kept
    )


def test_what_lies_in_one_storage_counts_once():
    x = torch.rand(4, 8, requires_grad=True)
    kept = Kept(torch.nn.Identity())
    with kept:
        _ = (x * x).view(2, 16) * x.view(2, 16) + torch.exp(x).sum()
    assert kept.size == 3 * x.nbytes  # x, its square, its exponential


def test_a_step_that_does_not_fit(monkeypatch):
    limits.check_step(10, 20, 1, on_gpu=False)
    monkeypatch.setattr(limits, 'memory', lambda: 8 * 10**9)
    with pytest.raises(UserError, match='at least 9 GB: 1 for weights, gradients and optimiser, 8 for the backward'):
        limits.check_step(10**9, 8 * 10**9, 16, on_gpu=False)


def test_a_container_has_less(monkeypatch, tmp_path):
    whole = limits.memory()
    (tmp_path / 'max').write_text('max\n')
    (tmp_path / 'limit').write_text('1000000\n')
    monkeypatch.setattr(limits, 'CONTAINER', (tmp_path / 'none', tmp_path / 'max'))
    assert limits.memory() >= whole
    monkeypatch.setattr(limits, 'CONTAINER', (tmp_path / 'none', tmp_path / 'limit'))
    assert limits.memory() == max([10**6, *map(limits.gpu_memory, range(torch.cuda.device_count()))])
