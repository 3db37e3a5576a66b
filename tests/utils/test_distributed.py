"""Without a process group everything works on one rank; several ranks are tested in tests/training."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from aesop.errors import UserError
from aesop.utils import distributed


def test_one_process_is_rank_zero_of_one(monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    assert distributed.setup(num_gpu=0) == torch.device('cpu')
    assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (0, 1, True)
    distributed.barrier()
    assert distributed.gather({'a': 1}) == [{'a': 1}]
    assert distributed.broadcast('x') == 'x'
    net = torch.nn.Linear(2, 2)
    assert distributed.wrap_ddp(net) is net


def test_means_come_in_one_piece():
    assert distributed.reduce_mean({'a': torch.tensor(1.5), 'b': torch.tensor(2, dtype=torch.float64)}) == {
        'a': 1.5,
        'b': 2.0,
    }
    assert distributed.reduce_mean({}) == {}


def test_a_mistake_on_the_main_rank_is_raised_by_all():
    def wrong():
        raise UserError('no such file')

    for shared in (distributed.on_main, distributed.on_all):
        with pytest.raises(distributed.SharedUserError, match='no such file'):
            shared(wrong)
        assert shared(lambda: 3) == 3


def test_slurm_says_who_is_who(monkeypatch, tmp_path):
    (tmp_path / 'scontrol').write_text('#!/bin/sh\necho node7\necho node8\n')
    (tmp_path / 'scontrol').chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=':')
    said = {'SLURM_PROCID': '3', 'SLURM_NTASKS': '4', 'SLURM_LOCALID': '1', 'SLURM_JOB_NODELIST': 'node[7-8]'}
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.setenv(name, '')  # so that monkeypatch takes back what read_slurm sets
        monkeypatch.delenv(name)
    distributed.read_launcher('slurm')
    assert distributed.rank() == 3
    assert (os.environ['WORLD_SIZE'], os.environ['LOCAL_RANK'], os.environ['MASTER_ADDR']) == ('4', '1', 'node7')


def test_a_launcher_that_did_not_start_the_process_is_told(monkeypatch):
    for name, needed in (('pytorch', 'RANK'), ('slurm', 'SLURM_PROCID')):
        monkeypatch.delenv(needed, raising=False)
        with pytest.raises(UserError, match=f'--launcher {name}: the process was not started by it'):
            distributed.read_launcher(name)
    distributed.read_launcher('none')


def test_one_process_agrees_with_itself_at_once():
    votes = distributed.Votes()
    assert votes.any_rank(True, False) == [True, False]
    assert votes.close() == []


def test_before_the_ranks_have_met_the_first_of_a_machine_tells(monkeypatch):
    error = UserError('a sentence')
    assert distributed.should_report(error)
    monkeypatch.setenv('LOCAL_RANK', '1')
    assert not distributed.should_report(error)


def test_what_ranks_send_each_other_is_data():
    value = {'a': torch.arange(3), 'b': [1.5, 'x', None], 'c': (True, 2)}
    back = distributed._unpack(distributed._pack(value))
    assert torch.equal(back.pop('a'), value.pop('a')) and back == value
    with pytest.raises(pickle.UnpicklingError):
        distributed._unpack(distributed._pack(Path('x')))


def test_a_restarted_worker_knows(monkeypatch):
    assert not distributed.restarted()
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '1')
    assert distributed.restarted()
