"""All gradients, then all optimisers or none: micro-batches, clipping, what is not finite, loss scaling."""

import copy

import pytest
import torch
from torch import nn

from aesop.errors import UserError
from aesop.models import build_model
from aesop.models.gradient_step import GROWTH_INTERVAL, GradientStep, build_optimiser

from .test_steps import ADAM, AE, ARTIFACTS, GAN, PIXEL, D, batches, options_of

SPSR = {'type': 'SPSRNet', 'in_nc': 3, 'out_nc': 3, 'nf': 8, 'nb': 20, 'gc': 4}
L1 = {'type': 'L1Loss', 'loss_weight': 0.5}


def options_by_kind(kind, **train):
    if kind == 'ae':
        return options_of('AEModel', {'pixel_opt': L1, 'pixel_at_LR_opt': L1, 'freeze_decoder': 2} | train, AE)
    if kind == 'spsr':
        terms = {'gan_grad_opt': GAN['gan_opt'], 'optim_d_grad': ADAM, 'branch_opt': L1}
        return options_of('ESRGANModel', PIXEL | GAN | terms | train, SPSR) | {'network_d_grad': D}
    return options_of('ESRGANArtifactsDisModel', PIXEL | GAN | ARTIFACTS | train)


def model_of(kind, runtime=None, **train):
    torch.manual_seed(0)
    return build_model(options_by_kind(kind, **train) | {'runtime': runtime or {}}, 'cpu')


def whole(count, seed=3):
    parts = list(batches(count, seed))
    return {key: torch.cat([part[key] for part in parts]) for key in ('gt', 'lq')}


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def gradients(model):
    return {name: p.grad.clone() for name, p in model.net_g.named_parameters() if p.grad is not None}


@pytest.mark.parametrize('kind', ['ae', 'ldl', 'spsr'])
def test_micro_batches_average_their_gradients_and_their_terms(kind):
    parts = list(batches(2))
    alone = []
    for part in parts:
        model = model_of(kind)
        terms = model.step(part, 1)
        alone.append((terms, gradients(model)))
    model = model_of(kind, accumulate=2)
    terms = model.step(whole(2) | {'name': ['four', 'names', 'of', 'images']}, 1)
    for name, value in terms.items():
        assert value == pytest.approx(sum(t[name].item() for t, _ in alone) / 2, rel=1e-5, abs=1e-7), name
    for name, gradient in gradients(model).items():
        assert torch.allclose(gradient, sum(g[name] for _, g in alone) / 2, rtol=1e-3, atol=1e-7), name


def test_a_batch_that_makes_no_equal_micro_batches_is_told():
    with pytest.raises(UserError, match='a batch of 2 samples cannot be split into 3 equal micro-batches'):
        model_of('ldl', accumulate=3).step(next(batches(1)), 1)


@pytest.mark.parametrize(('kind', 'accumulate'), [('ae', 1), ('ldl', 1), ('ldl', 2), ('spsr', 2)])
def test_nothing_changes_where_something_is_not_finite(kind, accumulate):
    model = model_of(kind, accumulate=accumulate)
    batch = whole(2)
    model.step(batch, 1)
    assert model.skipped == 0
    bad = {key: value.clone() for key, value in batch.items()}
    bad['gt'][-1, 0, 3, 4] = torch.inf
    before = copy.deepcopy(model.state_dict())
    model.step(bad, 2)
    assert model.skipped == 1
    assert same(before, model.state_dict())
    model.step(batch, 3)
    assert model.skipped == 0
    assert not any(same(state, model.state_dict()[name]) for name, state in before.items())


def test_an_optimiser_without_a_fused_form_skips_and_clips_too():
    block = {'type': 'RMSprop', 'lr': 1e-3}
    model = model_of('ae', optim_g=block, grad_clip_norm=1e-3)
    before = copy.deepcopy(model.state_dict())
    batch = whole(1)
    model.step({**batch, 'gt': batch['gt'] * torch.nan}, 1)
    assert model.skipped == 1 and same(before, model.state_dict())
    model.step(batch, 2)
    lengths = torch.stack([gradient.norm() for gradient in gradients(model).values()])
    assert lengths.norm() == pytest.approx(1e-3, rel=1e-4)  # what the optimiser was given
    assert model.grad_norms['optim_g'] > 1e-2


@pytest.mark.parametrize('clip', [0.01, 1000.0])
def test_clipping_scales_each_gradient_down_to_the_norm(clip):
    model, free = model_of('ldl', grad_clip_norm=clip, optim_g={'type': 'SGD', 'lr': 1.0}), model_of('ldl')
    before = copy.deepcopy(model.net_g.state_dict())
    batch = next(batches(1))
    model.step(batch, 1)
    free.step(batch, 1)
    length = torch.stack([gradient.norm() for gradient in gradients(free).values()]).norm().item()
    assert model.grad_norms.keys() == {'optim_g', 'optim_d'}
    assert model.grad_norms['optim_g'].item() == pytest.approx(length, rel=1e-5)
    factor = min(1.0, clip / length)
    for name, parameter in model.net_g.named_parameters():
        wanted = before[name] - factor * gradients(free)[name]
        assert torch.allclose(parameter, wanted, rtol=1e-4, atol=1e-6), name


def test_the_generator_that_waits_has_no_norm():
    model = model_of('ldl', net_d_iters=2)
    model.step(next(batches(1)), 1)
    assert model.grad_norms.keys() == {'optim_d'}
    model.step(next(batches(1)), 2)
    assert model.grad_norms.keys() == {'optim_g', 'optim_d'}


@pytest.mark.parametrize('block', [ADAM, {'type': 'AdamW', 'lr': 1e-2}, {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}])
def test_fused_optimisers_do_what_their_plain_forms_do(block):
    def trained(block):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 3, 3)).to(memory_format=torch.channels_last)
        optimiser = build_optimiser(block, net.parameters())
        for _ in range(4):
            optimiser.zero_grad()
            net(torch.rand(2, 3, 16, 16)).square().mean().backward()
            optimiser.step()
        return optimiser, net

    (fused, one), (plain, other) = trained(block), trained(block | {'foreach': False})
    assert fused.defaults['fused'] and not plain.defaults['fused']
    for a, b in zip(one.parameters(), other.parameters()):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-7)


def test_a_state_saved_in_another_memory_layout_goes_on_alike():
    models = [model_of('ldl', {'channels_last': layout}) for layout in (False, True)]
    parts = list(batches(3))
    for i, batch in enumerate(parts[:2], start=1):
        models[0].step(batch, i)
    models[1].load_state_dict(copy.deepcopy(models[0].state_dict()))
    for optimiser in models[1]._optimisers.values():
        for parameter, state in optimiser.state.items():
            assert state['exp_avg'].stride() == parameter.stride()
    for model in models:
        model.step(parts[2], 3)
    for (name, a), b in zip(models[0].net_d.named_parameters(), models[1].net_d.parameters()):
        assert (a - b).abs().mean() < 1e-5, name


def scaled(value, descent, clip=None):
    """A step of plain descent with rate 1 on a weight of 0 whose gradient is `value`; returns the weight."""
    weight = nn.Parameter(torch.zeros(()))
    optimisers = {'optim_g': build_optimiser({'type': 'SGD', 'lr': 1.0}, [weight])}
    descent.begin(optimisers, [])
    (value * weight).backward(descent.loss_scale)
    descent.end({'l_pix': torch.zeros(())})
    return weight.item()


def test_the_loss_scale_leaves_no_trace_halves_on_overflow_and_grows():
    descent = GradientStep(torch.device('cpu'), None, scales_losses=True)
    first = descent.loss_scale.item()
    assert scaled(0.25, descent) == -0.25
    assert descent.grad_norms['optim_g'] == 0.25
    assert scaled(1e38, descent) == 0  # its product with the scale is more than fp32 holds
    assert descent.loss_scale == first / 2
    assert descent.skipped == 0  # a matter of course, no trouble
    for _ in range(GROWTH_INTERVAL):
        scaled(0.25, descent)
    assert descent.loss_scale == first
    state = dict(descent.state_dict())
    other = GradientStep(torch.device('cpu'), None, scales_losses=True)
    other.load_state_dict(state)
    assert other.loss_scale == first

    descent = GradientStep(torch.device('cpu'), None, scales_losses=False)
    scaled(torch.nan, descent)
    assert descent.skipped == 1  # no scale is to blame
    assert descent.loss_scale == 1


def test_clipping_measures_the_gradient_without_its_scale():
    descent = GradientStep(torch.device('cpu'), 0.5, scales_losses=True)
    assert scaled(0.25, descent) == -0.25
    assert scaled(2.0, descent) == -0.5
