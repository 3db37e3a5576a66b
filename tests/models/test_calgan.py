"""The training step with CAL-GAN's discriminator: the published first step, five passes, AESOP, resuming."""

import copy
import json
import logging

import pytest
import torch
import torch.nn.functional as F
from torchvision.models import vgg

from aesop.models import build_model
from aesop.utils import checkpoint
from tests.golden import DATA, fill_, image

from .test_steps import (  # noqa: F401  (a fixture)
    AE,
    ARTIFACTS,
    GAN,
    LAYERS,
    PIXEL,
    Plain,
    ae_file,
    aesop,
    artifacts,
    batches,
    compare,
    l1,
    options_of,
)

STEP = json.loads((DATA / 'calgan.json').read_text())['step']
MOD = {'type': 'MOD', 'num_in_ch': 3, 'num_feat': 8, 'num_expert': 3}
RELATIVISTIC = {'gan_opt': GAN['gan_opt'] | {'relativistic': True}}


def build(train, model_type='ESRGANModel'):
    torch.manual_seed(0)
    return build_model(options_of(model_type, RELATIVISTIC | train) | {'network_d': MOD}, 'cpu')


@pytest.fixture(scope='module')
def vgg_file(tmp_path_factory):
    with torch.device('meta'):
        layers = vgg.make_layers(vgg.cfgs['E'])
    net = torch.nn.ModuleDict({'features': layers.to_empty(device='cpu')})
    path = tmp_path_factory.mktemp('vgg') / 'vgg19.pth'
    torch.save(fill_(net).state_dict(), path)
    return str(path)


def test_the_first_step_is_the_published_one(vgg_file):
    adam = {'type': 'Adam', 'lr': 1e-4, 'betas': [0.9, 0.99]}
    percep = {'type': 'PerceptualLoss', 'layer_weights': LAYERS, 'vgg_weights': vgg_file}
    options = options_of('ESRGANModel', GAN | PIXEL | {'perceptual_opt': percep, 'ema_decay': 0.999})
    options['network_d'] = MOD
    options['train'] |= {'optim_g': adam, 'optim_d': adam}
    model = build_model(options, 'cpu')
    with torch.no_grad():
        fill_(model.net_g).train().conv_last.weight *= 0.05
        fill_(model.net_d).train().orthonet.trans.weight *= 40
        model.net_g_ema.load_state_dict(model.net_g.state_dict())
    batch = {'lq': image(2, 3, 16, 16, 0.3), 'gt': image(2, 3, 64, 64, 0.3)}
    got = {name: value.item() for name, value in model.step(batch, 1).items()}

    unweighted = STEP['unweighted']
    assert got['l_d_orthogonality'] == pytest.approx(10 * unweighted['cos_similarity'], rel=3e-5)
    assert got['l_d_lda'] == pytest.approx(10 * unweighted['lda_loss'], rel=3e-5)
    assert got['l_d_balance'] == pytest.approx(0.05 * unweighted['load_balancing_loss'], rel=3e-5)
    own = got['l_d_orthogonality'] + got['l_d_lda'] + got['l_d_balance']
    assert got['l_d_real'] + own == pytest.approx(STEP['l_d_real'], rel=3e-5)
    for name in ('l_g_pix', 'l_g_percep', 'l_g_gan', 'l_d_fake'):
        assert got[name] == pytest.approx(STEP[name], rel=3e-5), name
    for name in ('out_d_real', 'out_d_fake'):
        assert got[name] == pytest.approx(STEP[name], rel=1e-4), name
    for net, norms in ((model.net_g, STEP['grad_norms_G']), (model.net_d, STEP['grad_norms_D'])):
        found = {name: parameter.grad.norm().item() for name, parameter in net.named_parameters()}
        assert found == pytest.approx(norms, rel=1e-3)
    shares = [got[f'd_expert_{k:02d}'] for k in range(3)]
    assert sum(shares) == pytest.approx(1) and min(shares) > 0


class FivePasses(Plain):
    """The published schedule and its formulas written out: five passes of the discriminator an iteration."""

    def judge(self, images, routing=None):
        """(logits, probabilities, features of each expert), every expert heard and one picked."""
        net, experts = self.d, self.d.num_expert
        maps = net.FE(images)
        tokens = maps.permute(0, 2, 3, 1).reshape(len(maps), -1, maps.shape[1])
        if routing is None:
            routing = F.softmax(tokens @ net.w_gating1, -1)
        wide = F.leaky_relu(net.orthonet.body[0](tokens), 0.2) * net.orthonet.trans.weight
        features = F.leaky_relu(wide, 0.2).chunk(experts, -1)
        logits = torch.stack([net.classifier(feature) for feature in features])
        picked = F.one_hot(routing.argmax(-1), experts).permute(2, 0, 1)[..., None]
        return (logits * picked).sum(0), routing, features

    def own_terms(self, routing, features):
        rows = self.d.orthonet.trans.weight.view(self.d.num_expert, -1)
        rows = rows / rows.norm(dim=1, keepdim=True)
        experts, (images, tokens) = len(features), routing.shape[:2]
        orthogonality, lda, balance = 0, 0, 0
        for i in range(experts):
            lda = lda + features[i].var()
            for j in range(experts):
                if i != j:
                    orthogonality = orthogonality + (rows[i] @ rows[j]) ** 2 / experts**2
                if i < j:
                    f, g = features[i], features[j]
                    lda = lda + (f * g / (f.sum() * g.sum() + 1e-5)).mean()
            share = (routing.argmax(-1) == i).float().mean(1)
            balance = balance + (share * routing[..., i].mean(1)).sum() / (images * experts)
        terms = {'l_d_orthogonality': 10 * orthogonality, 'l_d_lda': 10 * lda}
        return terms | {'l_d_balance': 0.05 * balance * experts**2 / tokens}

    def step(self, *shards, train_g=True):
        out, parts = {}, len(shards)

        def add(**values):
            out.update({name: out.get(name, 0) + value.detach() / parts for name, value in values.items()})

        images = [self.g(shard['lq']) for shard in shards]
        self.optim_g.zero_grad()
        self.d.requires_grad_(False)
        for shard, sr in zip(shards, images):
            real, routing, _ = self.judge(shard['gt'])
            fake, _, _ = self.judge(sr, routing.detach())
            real = real.detach()
            terms = {name: loss(sr, shard['gt'], self.ema(shard['lq'])) for name, loss in self.losses.items()}
            gan = self.gan(real - fake.mean(), False) + self.gan(fake - real.mean(), True)
            terms['l_g_gan'] = 0.005 * gan / 2
            (sum(terms.values()) / parts).backward()
            add(**terms)
        self.optim_g.step()

        self.optim_d.zero_grad()
        self.d.requires_grad_(True)
        for shard, sr in zip(shards, images):
            real, routing, features = self.judge(shard['gt'])
            with torch.no_grad():
                fake, _, _ = self.judge(sr, routing)
            terms = {'l_d_real': self.gan(real - fake.mean(), True) / 2} | self.own_terms(routing, features)
            (sum(terms.values()) / parts).backward()
            fake, _, _ = self.judge(sr.detach(), routing.detach())
            l_d_fake = self.gan(fake - real.detach().mean(), False) / 2
            (l_d_fake / parts).backward()
            shares = F.one_hot(routing.argmax(-1), self.d.num_expert).float().mean((0, 1))
            add(**terms, l_d_fake=l_d_fake, out_d_real=real.mean(), out_d_fake=fake.mean())
            add(**{f'd_expert_{k:02d}': share for k, share in enumerate(shares)})
        self.optim_d.step()
        self.update_ema()
        return {name: value.item() for name, value in out.items()}


def test_two_passes_equal_the_published_five():
    model = build(PIXEL)
    compare(model, FivePasses(model, {'l_g_pix': l1(0.01)}), count=2)


@pytest.mark.parametrize('with_artifacts', [False, True], ids=['calgan', 'ldl'])
def test_aesop_with_calgan(ae_file, with_artifacts):  # noqa: F811
    supervision = {'type': 'AutoEncoderLoss', 'autoencoder_arch': AE, 'autoencoder_load': {'path': ae_file}}
    train = {'aesop_opt': supervision} | (ARTIFACTS if with_artifacts else {})
    model = build(train, 'AesopESRGANArtifactsDisModel')
    losses = {'l_g_aesop': aesop(ae_file)} | ({'l_g_artifacts': artifacts} if with_artifacts else {})
    compare(model, FivePasses(model, losses), count=2)


def test_the_published_gradients_of_both_schedules_agree():
    """To 1e-6, where Adam cannot hide or blow up a difference."""
    model = build(PIXEL)
    plain = FivePasses(model, {'l_g_pix': l1(0.01)})
    batch = next(batches(1))
    plain.step(batch)
    model.step(batch, 1)
    for mine, theirs in ((model.net_g, plain.g), (model.net_d, plain.d)):
        for (name, a), b in zip(mine.named_parameters(), theirs.parameters()):
            assert (a.grad - b.grad).norm() <= 1e-5 * b.grad.norm() + 1e-12, name


def test_the_router_learns_from_the_balance_term_alone():
    for weight, moves in ((0.05, True), (0.0, False)):
        model = build(PIXEL)
        model.net_d.weights['balance'] = weight
        model.step(next(batches(1)), 1)
        assert model.net_d.w_gating1.grad.any().item() is moves
        assert model.net_d.orthonet.trans.weight.grad.any()


def test_a_step_in_low_precision_trains_the_router():
    options = options_of('ESRGANModel', RELATIVISTIC | PIXEL) | {'network_d': MOD, 'runtime': {'precision': 'bf16'}}
    torch.manual_seed(0)
    model = build_model(options, 'cpu')
    plain = build(PIXEL)
    got, wanted = ({n: v.item() for n, v in m.step(next(batches(1)), 1).items()} for m in (model, plain))
    assert got == pytest.approx(wanted, rel=0.05, abs=0.02)
    assert model.net_d.w_gating1.grad.dtype == torch.float32
    assert model.net_d.w_gating1.grad.abs().mean().item() == pytest.approx(
        plain.net_d.w_gating1.grad.abs().mean().item(), rel=0.2
    )


def test_a_resumed_run_takes_the_same_step(tmp_path):
    whole, iterations = build(PIXEL), list(batches(3))
    for i, batch in enumerate(iterations[:2], start=1):
        whole.step(batch, i)
    checkpoint.save(whole.state_dict(), tmp_path / '2.state')
    resumed = build(PIXEL)
    resumed.load_state_dict(checkpoint.load(tmp_path / '2.state'))
    terms = [model.step(copy.deepcopy(iterations[2]), 3) for model in (whole, resumed)]
    assert {name: value.item() for name, value in terms[0].items()} == {n: v.item() for n, v in terms[1].items()}
    for name in ('net_g', 'net_d', 'net_g_ema'):
        one, other = (getattr(model, name).state_dict() for model in (whole, resumed))
        assert all(torch.equal(tensor, other[key]) for key, tensor in one.items()), name


@pytest.mark.parametrize(('model_type', 'kept'), [('ESRGANModel', False), ('ESRGANArtifactsDisModel', True)])
def test_the_artifact_loss_that_the_published_file_sets_and_its_code_never_applies(model_type, kept, caplog):
    with caplog.at_level(logging.WARNING, 'aesop'):
        model = build(PIXEL | ARTIFACTS, model_type)
    assert ('artifacts' in model.losses) is kept
    assert ['artifacts_opt is dropped' in record.getMessage() for record in caplog.records] == [True] * (not kept)
