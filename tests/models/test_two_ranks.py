"""Two ranks, with one or two micro-batches each, equal the mean of the shares' gradients in one process.

BatchNorm and relativistic means see one micro-batch of one rank at a time.
"""

from pathlib import Path

import pytest
import torch

from aesop.models import build_model
from tests.training.test_loop import torchrun

from .test_calgan import MOD, FivePasses
from .test_steps import (
    AE,
    ARTIFACTS,
    GAN,
    G,
    Plain,
    aesop,
    artifacts,
    batches,
    l1,
    options_of,
    tell_apart,
)

KINDS = ('psnr', 'ae', 'esrgan', 'ldl', 'aesop', 'calgan')
ACCUMULATE = (1, 2)
CASES = [(kind, accumulate) for kind in KINDS for accumulate in ACCUMULATE]
PIX = {'type': 'L1Loss', 'loss_weight': 0.01}


def build(kind, ae_file, accumulate=1):
    torch.manual_seed(0)
    supervision = {'type': 'AutoEncoderLoss', 'autoencoder_arch': AE, 'autoencoder_load': {'path': ae_file}}
    model_type, train = {
        'psnr': ('SRModel', {'pixel_opt': PIX}),
        'ae': ('AEModel', {'pixel_opt': PIX, 'pixel_at_LR_opt': PIX, 'freeze_decoder': 1}),
        'esrgan': ('ESRGANModel', GAN | {'pixel_opt': PIX}),
        'ldl': ('ESRGANArtifactsDisModel', GAN | ARTIFACTS | {'pixel_opt': PIX}),
        'aesop': ('AesopESRGANArtifactsDisModel', GAN | ARTIFACTS | {'aesop_opt': supervision}),
        'calgan': ('ESRGANModel', GAN | {'pixel_opt': PIX}),
    }[kind]
    train |= {'accumulate': accumulate}
    options = options_of(model_type, train, AE if kind == 'ae' else G)
    model = build_model(options | ({'network_d': MOD} if kind == 'calgan' else {}), 'cpu')
    if kind in ('ldl', 'aesop'):
        tell_apart(model)
    return model


def alike(one, other):
    """Whether two states hold the same, bit for bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def iterations():
    parts = [list(batches(2, seed)) for seed in (11, 12, 13)]
    whole = ({key: torch.cat([part[key] for part in two]) for key in ('gt', 'lq')} for two in parts)
    return list(enumerate(whole, start=1))


def shards(batch, count=2):
    """Equal shares of a batch of 4: of each rank, or of each micro-batch of each rank."""
    size = 4 // count
    return [{key: value[i : i + size] for key, value in batch.items()} for i in range(0, 4, size)]


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """What two ranks made of each kind of model, as saved by two_ranks.py."""
    folder = tmp_path_factory.mktemp('two_ranks')
    torch.manual_seed(2)
    ae = build_model({'model_type': 'AEModel', 'scale': 4, 'network_g': AE}, 'cpu').net_g
    torch.save({'params': ae.state_dict()}, folder / 'ae.pth')
    code, said = torchrun(str(Path(__file__).with_name('two_ranks.py')), str(folder))
    assert code == 0, said
    return folder


class PlainAutoencoder(Plain):
    """As Plain, for a decoder that thaws after the first iteration."""

    def step(self, *shards, frozen):
        self.g.decoder.requires_grad_(not frozen)
        self.optim_g.zero_grad(set_to_none=True)
        terms = {'l_pix': 0.0, 'l_pix_at_LR': 0.0}
        for shard in shards:
            lr = self.g.encoder(shard['gt'])
            terms['l_pix'] += 0.01 * (self.g.decoder(lr) - shard['gt']).abs().mean() / len(shards)
            terms['l_pix_at_LR'] += 0.01 * (lr - shard['lq']).abs().mean() / len(shards)
        sum(terms.values()).backward()
        self.optim_g.step()
        self.update_ema()
        return {name: value.item() for name, value in terms.items()}


def plain_of(kind, ae_file):
    """One process that averages the shares."""
    losses = {
        'psnr': {'l_pix': l1(0.01)},
        'ae': {},
        'esrgan': {'l_g_pix': l1(0.01)},
        'ldl': {'l_g_pix': l1(0.01), 'l_g_artifacts': artifacts},
        'aesop': {'l_g_aesop': aesop(ae_file), 'l_g_artifacts': artifacts},
        'calgan': {'l_g_pix': l1(0.01)},
    }[kind]
    return {'ae': PlainAutoencoder, 'calgan': FivePasses}.get(kind, Plain)(build(kind, ae_file), losses)


@pytest.mark.parametrize(('kind', 'accumulate'), CASES)
def test_two_ranks_equal_the_mean_of_their_gradients(trained, kind, accumulate):
    ranks = [torch.load(trained / f'{kind}_{accumulate}_{rank}.pth', weights_only=True) for rank in range(2)]
    plain = plain_of(kind, str(trained / 'ae.pth'))
    states, means = ranks[0]['states'], ranks[0]['means']
    for (i, batch), before, after, got in zip(iterations(), states, states[1:], means):
        plain.take(before)
        options = {'frozen': i <= 1} if kind == 'ae' else {}
        assert got == pytest.approx(plain.step(*shards(batch, 2 * accumulate), **options), rel=1e-4, abs=1e-7)
        for name, net in (('net_g', plain.g), ('net_g_ema', plain.ema), ('net_d', plain.d)):
            for key, wanted in net.named_parameters() if net else ():
                assert (after[name][key] - wanted).abs().mean() < 1e-5, (i, name, key)
    for name in after.keys() & {'net_g', 'net_g_ema', 'net_d'}:
        for key, _ in getattr(plain, {'net_g': 'g', 'net_g_ema': 'ema', 'net_d': 'd'}[name]).named_parameters():
            assert torch.equal(after[name][key], ranks[1]['states'][-1][name][key]), (name, key)
            assert not torch.equal(after[name][key], states[0][name][key]), (name, key)


def test_what_is_not_finite_on_one_rank_is_skipped_by_both(trained):
    for rank in range(2):
        told = torch.load(trained / f'nan_{rank}.pth', weights_only=True)
        assert told['skipped'] == [0, 1, 0]
        assert told['moved'] == [True, False, True]
