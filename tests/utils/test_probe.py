"""What low precision does on a machine, asked of a real child process and of simulated ones."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from aesop.errors import UserError
from aesop.utils import probe
from aesop.utils.probe import Speedups, bf16_speedups, check_bf16, choose_precision

CPU = torch.device('cpu')


@pytest.fixture(autouse=True)
def forgotten():
    bf16_speedups.cache_clear()
    yield
    bf16_speedups.cache_clear()


def answering(monkeypatch, stdout='', returncode=0):
    asked = []
    answer = SimpleNamespace(stdout=stdout, returncode=returncode)
    monkeypatch.setattr(probe.subprocess, 'run', lambda command, **_: asked.append(command) or answer)
    return asked


def test_a_child_that_dies_is_a_trap_and_the_remedy_is_told(monkeypatch):
    monkeypatch.setenv(probe.SIMULATED, '1')
    monkeypatch.delenv('ONEDNN_MAX_CPU_ISA', raising=False)
    assert bf16_speedups() == Speedups(trap='SIGILL')
    with pytest.raises(UserError, match=r'runtime\.precision: bf16 .*SIGILL.*ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16'):
        check_bf16('runtime.precision')
    monkeypatch.setattr(torch, 'get_num_threads', lambda: None)  # so that the answer above serves
    name, why = choose_precision(CPU)
    assert name == 'fp32'
    assert 'SIGILL' in why


def test_the_remedy_helps_where_the_trap_is_simulated(monkeypatch):
    monkeypatch.setenv(probe.SIMULATED, '1')
    monkeypatch.setenv('ONEDNN_MAX_CPU_ISA', probe.WITHOUT_AMX)
    products = bf16_speedups(1)
    assert products.trap is None
    assert min(products.conv, products.matmul) > 0
    check_bf16('runtime.precision')


@pytest.mark.parametrize(
    ('answer', 'name', 'why'),
    [
        ('{"conv": 2.04, "matmul": 4.2}', 'bf16', 'in bf16, this CPU computes convolutions 2 and matrix products 4.2'),
        ('{"conv": 0.6, "matmul": 4.2}', 'fp32', 'convolutions 0.6 and'),
        ('Could not load', 'fp32', 'could not be measured'),
        ('', 'fp32', 'could not be measured'),
    ],
)
def test_bf16_is_chosen_where_both_products_pay(answer, name, why, monkeypatch):
    asked = answering(monkeypatch, f'a warning\n{answer}\n')
    chosen, reason = choose_precision(CPU)
    assert chosen == name
    assert why in reason
    choose_precision(CPU)
    assert len(asked) == 1  # once a process
    assert asked[0][-1] == str(torch.get_num_threads())


def test_a_child_that_cannot_start_or_hangs_is_no_reason_to_stop(monkeypatch):
    def run(*_, **__):
        raise subprocess.TimeoutExpired('probe', 60)

    monkeypatch.setattr(probe.subprocess, 'run', run)
    assert choose_precision(CPU)[0] == 'fp32'


def test_a_cpu_without_amx_is_not_asked_before_a_bf16_run(monkeypatch):
    monkeypatch.delenv(probe.SIMULATED, raising=False)
    asked = answering(monkeypatch, returncode=-4)
    monkeypatch.setattr(probe.Path, 'read_text', lambda _: 'flags : avx512f avx512_bf16')
    check_bf16('val.precision')
    assert not asked
    monkeypatch.setattr(probe.Path, 'read_text', lambda _: 'flags : avx512f amx_bf16 amx_tile')
    monkeypatch.setattr(probe.Path, 'exists', lambda _: True)
    with pytest.raises(UserError, match='SIGILL'):
        check_bf16('val.precision')


def test_rates_are_measured():
    products = probe.measure(torch.bfloat16, CPU, seconds=0)
    assert 1e-3 < products.conv < 1e3
    assert 1e-3 < products.matmul < 1e3


def test_on_other_devices_fp32_is_chosen():
    assert choose_precision(torch.device('meta')) == ('fp32', 'low precision is not supported on meta')


@pytest.mark.gpu
def test_a_gpu_is_measured_in_this_process():
    name, why = choose_precision(torch.device('cuda'))
    assert name in ('fp32', 'bf16', 'fp16')
    assert 'this GPU computes convolutions' in why


def test_the_probe_loads_no_pytorch():
    code = "import sys; import aesop.utils.probe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, '-c', code], env=os.environ | {'PYTHONPATH': '.'}).returncode == 0
