"""Checkpoints that are written while training continues."""

import threading

import pytest
import torch

from aesop.errors import UserError
from aesop.training import checkpointer as module
from aesop.training.checkpointer import AsyncCheckpointer, to_host


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
    checkpointer = AsyncCheckpointer()
    checkpointer.save(lambda: (go.wait(), order.append(1)))
    assert order == []  # `save` came back, and the first is still being written
    threading.Timer(0.05, go.set).start()
    checkpointer.save(lambda: order.append(2))
    assert checkpointer.wait() is None
    assert order == [1, 2]


def test_a_full_disk_is_told_and_tried_again_and_what_nothing_replaces_is_made_up_for(monkeypatch, caplog):
    disk, checkpointer = Disk(), AsyncCheckpointer()
    disk.full = True
    checkpointer.enqueue(disk.write('best'))
    checkpointer.save(disk.write('state 1'))
    assert str(checkpointer.wait()) == 'no space'
    assert caplog.text.count('no space') == 2 and 'training continues' in caplog.text
    assert not checkpointer.should_retry()
    monkeypatch.setattr(module, 'RETRY', -1)
    assert checkpointer.should_retry()
    disk.full = False
    checkpointer.save(disk.write('state 2'))
    assert checkpointer.wait() is None
    assert disk.written == ['best', 'state 2']
    assert not checkpointer.should_retry()


def test_the_last_save_waits_for_space(monkeypatch):
    monkeypatch.setattr(module, 'RETRY', 0)
    disk, checkpointer, tries = Disk(), AsyncCheckpointer(), []

    def write():
        tries.append(1)
        disk.full = len(tries) < 3
        disk.write('last')()

    checkpointer.save_and_wait(write)
    assert len(tries) == 3 and disk.written == ['last']
    disk.full = True
    with pytest.raises(UserError, match='no space'):
        checkpointer.save_and_wait(disk.write('never'))
    with pytest.raises(UserError, match='no space'):
        checkpointer.save_and_wait(disk.write('never'), stopped=lambda: True)


def test_an_error_of_ours_is_no_full_disk():
    checkpointer = AsyncCheckpointer()
    checkpointer.save(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        checkpointer.wait()


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
