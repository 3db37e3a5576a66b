import json
from pathlib import Path

import pytest
import torch

from aesop.errors import UserError
from aesop.losses import build_loss
from aesop.losses.gan import discriminator_losses, generator_loss

TABLE = json.loads((Path(__file__).parents[1] / 'data/losses.json').read_text())
KINDS = ['vanilla', 'lsgan', 'wgan', 'wgan_softplus', 'hinge']
FAKE = torch.arange(8.0).sin().view(8, 1)
REAL = torch.arange(8.0).cos().view(8, 1)


def gan(kind='vanilla', **arguments):
    return build_loss({'type': 'GANLoss', 'gan_type': kind, 'loss_weight': 0.005, **arguments})


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('real', [True, False])
@pytest.mark.parametrize('disc', [True, False])
def test_reference(kind, real, disc):
    want = TABLE[f'GANLoss_{kind}'][f'real={real},disc={disc}']
    assert gan(kind)(FAKE, real, is_disc=disc).item() == pytest.approx(want, rel=1e-5)


def test_relativistic_reference():
    want = TABLE['relativistic']
    real, fake = discriminator_losses(gan(), REAL, FAKE, relativistic=True)
    assert generator_loss(gan(), REAL, FAKE, relativistic=True).item() == pytest.approx(want['g'], rel=1e-5)
    assert real.item() == pytest.approx(want['d_real'], rel=1e-5)
    assert fake.item() == pytest.approx(want['d_fake'], rel=1e-5)


def test_plain_is_not_halved():
    real, fake = discriminator_losses(gan(), REAL, FAKE, relativistic=False)
    assert generator_loss(gan(), None, FAKE, relativistic=False).item() == gan()(FAKE, True).item()
    assert real.item() == gan()(REAL, True, is_disc=True).item()
    assert fake.item() == gan()(FAKE, False, is_disc=True).item()


def test_labels():
    loss = gan('lsgan', real_label_val=0.9, fake_label_val=0.1)
    pred = torch.tensor([0.4])
    assert loss(pred, True, is_disc=True).item() == pytest.approx(0.25)
    assert loss(pred, False, is_disc=True).item() == pytest.approx(0.09)


def test_gradient_goes_where_it_should():
    def needs_grad(loss, *preds):
        return [g is not None for g in torch.autograd.grad(loss, preds, allow_unused=True, retain_graph=True)]

    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    assert needs_grad(generator_loss(gan(), real, fake, relativistic=True), real, fake) == [False, True]
    on_real, on_fake = discriminator_losses(gan(), real, fake, relativistic=True)
    assert needs_grad(on_real, real, fake) == [True, False]
    assert needs_grad(on_fake, real, fake) == [False, True]


@pytest.mark.parametrize('relativistic', [True, False])
def test_a_step_downhill_does_what_each_side_wants(relativistic):
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    (up,) = torch.autograd.grad(generator_loss(gan(), real, fake, relativistic), fake)
    assert up.sum() < 0  # the generator raises predictions on fakes
    on_real, on_fake = discriminator_losses(gan(), real, fake, relativistic)
    up, down = torch.autograd.grad(on_real + on_fake, (real, fake))
    assert (up < 0).all() and (down > 0).all()


def test_unknown_kind_is_a_users_mistake():
    with pytest.raises(UserError, match='gan_type: unknown value "vanila".*Did you mean "vanilla"'):
        gan('vanila')


def test_several_scales_count_by_their_mean_and_features_by_their_last_entry():
    single, several = (build_loss({'type': kind, 'gan_type': 'lsgan'}) for kind in ('GANLoss', 'MultiScaleGANLoss'))
    a, b = torch.tensor([0.5, 2.0]), torch.tensor([[3.0]])
    assert several(a, True).item() == single(a, True).item()
    expected = (single(a, True) + single(b, True)) / 2
    assert several([a, b], True).item() == expected.item()
    assert several([[b, a], [a, b]], True).item() == expected.item()


def test_feature_matching_leaves_the_truth_alone():
    loss = build_loss({'type': 'GANFeatLoss', 'loss_weight': 2.0})
    fake = [[torch.full((1, 2), 1.0, requires_grad=True)], [torch.zeros(3)]]
    real = [[torch.full((1, 2), 4.0, requires_grad=True)], [torch.ones(3)]]
    value = loss(fake, real)
    assert value.item() == (2 * 3 + 2 * 1) / 2
    value.backward()
    assert fake[0][0].grad is not None and real[0][0].grad is None
