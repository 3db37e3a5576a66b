import logging

from aesop.training.experts import IdleExperts


def test_an_expert_is_told_when_it_has_been_idle_for_long(caplog):
    caplog.set_level(logging.WARNING, 'aesop')
    experts = IdleExperts(patience=3)
    for iteration, (first, second) in enumerate([(0.0, 1.0), (0.0, 1.0), (0.5, 0.5), (0.0, 1.0), (0.0, 1.0)]):
        experts.look({'d_expert_00': first, 'd_expert_01': second, 'l_g_gan': 0.0}, iteration)
    assert not caplog.records  # it came back in between
    for iteration in (5, 6, 7):
        experts.look({'d_expert_00': 0.0, 'd_expert_01': 1.0, 'l_g_gan': 0.0}, iteration)
    (record,) = caplog.records
    assert (
        'iteration 5: experts that received no part of an image for 3 log lines and learn nothing: 00.'
        in record.getMessage()
    )


def test_a_run_without_experts_is_left_alone(caplog):
    caplog.set_level(logging.WARNING, 'aesop')
    experts = IdleExperts(patience=1)
    experts.look({'l_pix': 0.0}, 1)
    experts.look({'d_expert_02_grad': 0.0, 'd_expert_05_grad': 0.0}, 2)
    (record,) = caplog.records
    assert 'learn nothing: 02_grad, 05_grad.' in record.getMessage()
