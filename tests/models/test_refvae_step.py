"""The first step of RefVAE's published training loop (tests/data/refvae/training_steps.json)."""

import json

import pytest
import torch
import torchvision
from torch import nn

from aesop.models import build_model
from aesop.options import load_options
from tests.archs.test_refvae import noise, vgg_r41  # noqa: F401  (a fixture)
from tests.golden import DATA, fill_, image

WANT = json.loads((DATA / 'refvae/training_steps.json').read_text())['small']['steps'][0]
RECIPE = 'options/refvae/published_loop.yml'
# name in the log -> name in the table, and the weight of the recipe
TERMS = {
    'l_g_size': ('SR_L1', 1),
    'l_g_lr': ('LR_loss', 100),
    'l_g_features': ('GAN_feat_loss', 0.01),
    'l_g_gan': ('GAN_loss', 1),
    'l_g_percep': ('ContentLoss', 0.01),
    'l_g_style': ('StyleLoss', 10),
    'l_g_kl': ('KL_loss', 1),
    'l_g_lpips': ('lpips_sp', 1e4),
}


@pytest.fixture(scope='module')
def backbones(tmp_path_factory):
    """A folder of filled VGG-19 and AlexNet features for AESOP_WEIGHTS."""
    folder = tmp_path_factory.mktemp('weights')
    for name in ('vgg19', 'alexnet'):
        with torch.device('meta'):
            features = getattr(torchvision.models, name)().features
        filled = fill_(nn.ModuleDict({'features': features.to_empty(device='cpu')}))
        torch.save(filled.state_dict(), folder / f'{name}.pth')
    return folder


@pytest.fixture
def model(vgg_r41, backbones, monkeypatch):  # noqa: F811
    monkeypatch.setenv('AESOP_WEIGHTS', str(backbones))
    small = {'num_feat': 64, 'num_latent': 32, 'vgg_width': 8, 'vgg_weights': vgg_r41['small']}
    overrides = ['datasets=~', 'num_gpu=0', 'network_d.num_feat=4']
    overrides += [f'network_g.{key}={value}' for key, value in small.items()]
    model = build_model(load_options(RECIPE, overrides), 'cpu')
    for net in (model.net_g, model.net_d):
        fill_(net).train()
    with torch.no_grad():
        model.net_g.decoder[11].weight *= 0.05
    return model


def test_the_first_step(model, monkeypatch):
    (branch,) = model._branches
    monkeypatch.setattr(branch.gan, 'draw_labels', lambda: None)
    branch.gan.drawn = {True: WANT['real_factor'], False: WANT['fake_offset']}
    lq, gt = image(2, 3, 8, 8, 0.0), image(2, 3, 64, 64, 0.0)
    logs = model.step({'lq': lq, 'gt': gt, 'ref': gt, 'noise': noise('eps.1', 2, 32)}, 1)

    for name, (published, weight) in TERMS.items():
        assert logs[name].item() == pytest.approx(weight * WANT[published], rel=2e-6), name
    assert sum(logs[name].item() for name in TERMS) == pytest.approx(WANT['G_loss'], rel=2e-6)
    # There the discriminator's loss is halved; Adam does not see the difference.
    assert (logs['l_d_real'] + logs['l_d_fake']).item() / 2 == pytest.approx(WANT['Dis_loss'], rel=2e-6)

    for net, table, factor in ((model.net_g, 'grad_norms_G', 1), (model.net_d, 'grad_norms_D', 2)):
        norms = {name: p.grad for name, p in net.named_parameters() if p.requires_grad}
        known = {name: norm for name, norm in WANT[table].items() if norm is not None and norm > 1e-3}
        assert norms.keys() == known.keys()  # the others are unused, or biases before a normalisation
        for name, gradient in norms.items():
            assert gradient.norm().item() / factor == pytest.approx(known[name], rel=2e-3), name


def test_labels_are_drawn_once_an_iteration_within_their_ranges(model):
    (branch,) = model._branches
    drawn = []
    for _ in range(20):
        branch.gan.draw_labels()
        drawn.append(dict(branch.gan.drawn))
    assert all(0.7 <= labels[True] <= 1.2 and 0 <= labels[False] <= 0.3 for labels in drawn)
    assert len({labels[True] for labels in drawn}) == 20
