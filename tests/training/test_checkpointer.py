"""Checkpoints that are written while training goes on."""

import threading

import pytest
import torch

from aesop.errors import UserError
from aesop.training import checkpointer as module
from aesop.training.checkpointer import Saver, to_host


class Disk:
    """Takes writes, or is full."""

    def __init__(self):
        self.full, self.written = False, []

    def write(self, what):
        def job():
            if self.full:
                raise UserError('no space')
            self.written.append(what)

        return job


def test_training_does_not_wait_for_a_write_and_writes_do_not_overtake():
    go, order = threading.Event(), []
    saver = Saver()
    saver.save(lambda: (go.wait(), order.append(1)))
    assert order == []  # `save` came back, and the first is still being written
    threading.Timer(0.05, go.set).start()
    saver.save(lambda: order.append(2))
    assert saver.finish() is None
    assert order == [1, 2]


def test_a_full_disk_is_told_and_tried_again_and_what_nothing_replaces_is_made_up_for(monkeypatch, caplog):
    disk, saver = Disk(), Saver()
    disk.full = True
    saver.owe(disk.write('best'))
    saver.save(disk.write('state 1'))
    assert str(saver.finish()) == 'no space'
    assert caplog.text.count('no space') == 2 and 'training goes on' in caplog.text
    assert not saver.should_retry()
    monkeypatch.setattr(module, 'RETRY', -1)
    assert saver.should_retry()
    disk.full = False
    saver.save(disk.write('state 2'))
    assert saver.finish() is None
    assert disk.written == ['best', 'state 2']
    assert not saver.should_retry()


def test_the_last_save_waits_for_space(monkeypatch):
    monkeypatch.setattr(module, 'RETRY', 0)
    disk, saver, tries = Disk(), Saver(), []

    def write():
        tries.append(1)
        disk.full = len(tries) < 3
        disk.write('last')()

    saver.save_now(write)
    assert len(tries) == 3 and disk.written == ['last']
    disk.full = True
    with pytest.raises(UserError, match='no space'):
        saver.save_now(disk.write('never'))
    with pytest.raises(UserError, match='no space'):
        saver.save_now(disk.write('never'), stopped=lambda: True)


def test_an_error_of_ours_is_no_full_disk():
    saver = Saver()
    saver.save(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        saver.finish()


def test_what_is_written_is_a_copy():
    net = torch.nn.Linear(2, 2)
    state = {'net': net.state_dict(), 'more': [(torch.ones(2), 3)], 'name': 'x'}
    copy = to_host(state)
    before = net.weight.clone()
    with torch.no_grad():
        net.weight.zero_()
        state['more'][0][0].zero_()
    assert torch.equal(copy['net']['weight'], before) and not copy['net']['weight'].requires_grad
    assert torch.equal(copy['more'][0][0], torch.ones(2)) and copy['more'][0][1:] == (3,) and copy['name'] == 'x'
