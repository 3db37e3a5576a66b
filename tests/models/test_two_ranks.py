"""Two ranks equal the mean of their gradients in one process (BatchNorm and relativistic means are per rank)."""

import copy
from pathlib import Path

import pytest
import torch

from aesop.models import build_model
from tests.engine.test_train import torchrun

from .test_steps import AE, ARTIFACTS, DECAY, GAN, G, Plain, aesop, artifacts, batches, l1, options_of, tell_apart

KINDS = ('psnr', 'ae', 'esrgan', 'ldl', 'aesop')
PIX = {'type': 'L1Loss', 'loss_weight': 0.01}


def build(kind, ae_file):
    torch.manual_seed(0)
    supervision = {'type': 'AutoEncoderLoss', 'autoencoder_arch': AE, 'autoencoder_load': {'path': ae_file}}
    model_type, train = {
        'psnr': ('SRModel', {'pixel_opt': PIX}),
        'ae': ('AEModel', {'pixel_opt': PIX, 'pixel_at_LR_opt': PIX, 'freeze_decoder': 2}),
        'esrgan': ('ESRGANModel', GAN | {'pixel_opt': PIX}),
        'ldl': ('ESRGANArtifactsDisModel', GAN | ARTIFACTS | {'pixel_opt': PIX}),
        'aesop': ('AesopESRGANArtifactsDisModel', GAN | ARTIFACTS | {'aesop_opt': supervision}),
    }[kind]
    model = build_model(options_of(model_type, train, AE if kind == 'ae' else G), 'cpu')
    if kind in ('ldl', 'aesop'):
        tell_apart(model)
    return model


def iterations():
    pairs = [list(batches(2, seed)) for seed in (11, 12, 13, 14)]
    return list(enumerate(({key: torch.cat([a[key], b[key]]) for key in a} for a, b in pairs), start=1))


def shards(batch):
    return [{key: value[2 * rank : 2 * rank + 2] for key, value in batch.items()} for rank in range(2)]


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


def expected(kind, ae_file):
    """(weights by network, mean terms of each iteration) of one process that averages the shares."""
    model = build(kind, ae_file)
    if kind == 'ae':
        return autoencoder(model)
    losses = {
        'psnr': {'l_pix': l1(0.01)},
        'esrgan': {'l_g_pix': l1(0.01)},
        'ldl': {'l_g_pix': l1(0.01), 'l_g_artifacts': artifacts},
        'aesop': {'l_g_aesop': aesop(ae_file), 'l_g_artifacts': artifacts},
    }[kind]
    plain = Plain(model, losses)
    terms = [plain.step(*shards(batch)) for _, batch in iterations()]
    return {'net_g': plain.g, 'net_g_ema': plain.ema, 'net_d': plain.d}, terms


def autoencoder(model):
    ae, ema = copy.deepcopy(model.net_g), copy.deepcopy(model.net_g_ema)
    adam = torch.optim.Adam(ae.parameters(), lr=1e-3, betas=(0.9, 0.99))
    means = []
    for i, batch in iterations():
        ae.decoder.requires_grad_(i > 2)
        adam.zero_grad(set_to_none=True)
        terms = {'l_pix': 0.0, 'l_pix_at_LR': 0.0}
        for shard in shards(batch):
            lr = ae.encoder(shard['gt'])
            terms['l_pix'] += 0.01 * (ae.decoder(lr) - shard['gt']).abs().mean() / 2
            terms['l_pix_at_LR'] += 0.01 * (lr - shard['lq']).abs().mean() / 2
        sum(terms.values()).backward()
        adam.step()
        with torch.no_grad():
            for mean, now in zip(ema.parameters(), ae.parameters()):
                mean.copy_(DECAY * mean + (1 - DECAY) * now)
        means.append({name: value.item() for name, value in terms.items()})
    return {'net_g': ae, 'net_g_ema': ema}, means


@pytest.mark.parametrize('kind', KINDS)
def test_two_ranks_equal_the_mean_of_their_gradients(trained, kind):
    ranks = [torch.load(trained / f'{kind}_{rank}.pth', weights_only=True) for rank in range(2)]
    nets, means = expected(kind, str(trained / 'ae.pth'))
    for got, wanted in zip(ranks[0]['means'], means):
        assert got == pytest.approx(wanted, rel=1e-3, abs=1e-6)
    for name, weights in ranks[0]['weights'].items():
        for key, wanted in nets[name].named_parameters():
            assert torch.equal(weights[key], ranks[1]['weights'][name][key]), (name, key)
            assert (weights[key] - wanted).abs().mean() < 5e-5, (name, key)
