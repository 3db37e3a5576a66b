"""Schedules against values worked out by hand."""

import math

import pytest

from aesop.models import build_model
from aesop.models.schedules import build_schedule

from .test_steps import ADAM, GAN, PIXEL, batches, options_of


def rates(block, steps, lr=1.0, warmup=-1):
    schedule = build_schedule(block, warmup)
    return [schedule(lr, t) for t in steps]


def test_constant():
    assert rates(None, [0, 10**6]) == [1.0, 1.0]


def test_multi_step_falls_at_each_milestone():
    block = {'type': 'MultiStepLR', 'milestones': [3, 5], 'gamma': 0.5}
    assert rates(block, [0, 2, 3, 4, 5, 9]) == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert block == {'type': 'MultiStepLR', 'milestones': [3, 5], 'gamma': 0.5}


def test_multi_step_restart_goes_back_to_its_weight():
    block = {'type': 'MultiStepRestartLR', 'milestones': [2, 6], 'gamma': 0.1, 'restarts': [0, 4]}
    block['restart_weights'] = [1, 0.5]
    assert rates(block, [0, 2, 4, 5, 6]) == pytest.approx([1, 0.1, 0.5, 0.5, 0.05])


def test_cosine_goes_down_and_starts_again():
    block = {'type': 'CosineAnnealingRestartLR', 'periods': [4, 4], 'restart_weights': [1, 0.5], 'eta_min': 0.1}
    at_quarter = 0.1 + 0.5 * 0.9 * (1 + math.cos(math.pi / 4))
    middle, second = 0.1 + 0.5 * 0.9, 0.1 + 0.5 * 0.5 * 0.9 * (1 + math.cos(math.pi / 4))
    assert rates(block, [0, 1, 2, 4, 5, 8, 99]) == pytest.approx([1, at_quarter, middle, 0.1, second, 0.1, 0.1])


def test_warm_up_rises_in_equal_steps_to_the_schedule():
    block = {'type': 'MultiStepLR', 'milestones': [4], 'gamma': 0.5}
    assert rates(block, range(6), warmup=4) == pytest.approx([0.25, 0.5, 0.75, 1, 0.5, 0.5])


def test_discriminators_may_have_a_schedule_of_their_own():
    falls = {'type': 'MultiStepLR', 'milestones': [1], 'gamma': 0.1}
    train = PIXEL | GAN | {'scheduler': falls, 'optim_g': ADAM | {'lr': 1e-3}}
    for more, rate_d in (({}, 1e-3), ({'scheduler_d': falls | {'milestones': []}}, 1e-2)):
        options = options_of('ESRGANModel', train | more)
        options['train']['optim_d'] = ADAM | {'lr': 1e-2}
        model = build_model(options, 'cpu')
        for i, batch in enumerate(batches(2), 1):
            model.step(batch, i)
        rates = [optimiser.param_groups[0]['lr'] for optimiser in model._optimisers.values()]
        assert rates == pytest.approx([1e-4, rate_d])
