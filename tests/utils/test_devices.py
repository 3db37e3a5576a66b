"""Devices, also those of machines that this is not."""

import sys

import pytest
import torch

from aesop.errors import UserError
from aesop.utils.devices import best_device, find_device, peak_memory


def test_a_gpu_comes_before_a_mac_s_and_that_before_the_cpu(monkeypatch):
    for cuda, mps, best in ((True, False, 'cuda'), (False, True, 'mps'), (False, False, 'cpu')):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.backends.mps, 'is_available', lambda mps=mps: mps)
        assert best_device() == best


def test_a_device_that_is_not_here_is_told():
    assert find_device('cpu') == torch.device('cpu')
    with pytest.raises(UserError, match='device cuda:99 is not available'):
        find_device('cuda:99')


def test_memory_is_counted_where_the_system_counts_it(monkeypatch):
    assert peak_memory(torch.device('cpu')) > 100e6
    monkeypatch.setitem(sys.modules, 'resource', None)
    assert peak_memory(torch.device('cpu')) == 0
