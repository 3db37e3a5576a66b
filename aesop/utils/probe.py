"""Whether low-precision products work on this machine and are faster: measured, not looked up by processor.

Some virtual machines report AMX and kill the process that uses it (SIGILL); on some processors bf16 works, but slower
than fp32. On a CPU both are probed in a child process, which may be killed. This module does not import PyTorch at the
top, so that a program can probe before it does.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from aesop.errors import UserError

MIN_SPEEDUP = 1.2  # over fp32, for both kinds of product: casts and rounding cost time too
WITHOUT_AMX = 'AVX512_CORE_BF16'
REMEDY = f'set ONEDNN_MAX_CPU_ISA={WITHOUT_AMX} in the environment, or use fp32'
SIMULATED = 'AESOP_SIMULATE_TRAP'  # for tests: the child dies as on a machine that reports AMX but traps on it
MIN_REPEATS = 8  # even on a busy machine
TIMEOUT = 60  # seconds for the child, which spends most of them loading PyTorch


@dataclass(frozen=True)
class Speedups:
    """The speed of low-precision products on this machine.

    Attributes:
        trap: the name of the signal that kills a process that uses them; None if they work.
        conv, matmul: speedup over fp32; None if unknown.
    """

    trap: str | None = None
    conv: float | None = None
    matmul: float | None = None

    @property
    def worthwhile(self) -> bool:
        return min(self.conv or 0, self.matmul or 0) >= MIN_SPEEDUP

    @property
    def figures(self) -> str:
        return f'convolutions {self.conv:.2g} and matrix products {self.matmul:.2g} times as fast as in fp32'


@cache
def bf16_speedups(threads: int | None = None) -> Speedups:
    """Measures bf16 products on this CPU, once per process. Takes a second plus the time to load PyTorch.

    Args:
        threads: to use; None: PyTorch's default.
    """
    command = [sys.executable, '-m', 'aesop.utils.probe', *([str(threads)] if threads else [])]
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join(part for part in (package, os.environ.get('PYTHONPATH')) if part)
    try:
        child = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT, env={**os.environ, 'PYTHONPATH': path}
        )
    except (OSError, subprocess.TimeoutExpired):
        return Speedups()
    if child.returncode < 0:
        return Speedups(trap=signal.Signals(-child.returncode).name)
    try:
        return Speedups(**json.loads(child.stdout.splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        return Speedups()


def announces_amx() -> bool:
    """Whether this CPU reports AMX: no others are known to trap, so only these are probed before a bf16 run."""
    if SIMULATED in os.environ:
        return True
    cpuinfo = Path('/proc/cpuinfo')
    return cpuinfo.exists() and 'amx_bf16' in cpuinfo.read_text()


def check_bf16(where: str) -> None:
    """Raises a UserError that names the option `where` if bf16 products kill a process on this CPU."""
    if announces_amx() and (trap := bf16_speedups().trap):
        raise UserError(
            f'{where}: bf16 products kill the process on this CPU ({trap}), which reports AMX but does not allow its '
            f'use; {REMEDY}'
        )


def choose_precision(device: Any) -> tuple[str, str]:
    """('fp32', 'bf16' or 'fp16', the reason) for `precision: auto` on a torch.device."""
    if device.type == 'cuda':
        import torch

        name = 'bf16' if torch.cuda.is_bf16_supported(including_emulation=False) else 'fp16'
        products, where = measure(getattr(torch, {'bf16': 'bfloat16', 'fp16': 'float16'}[name]), device), 'this GPU'
    elif device.type == 'cpu':
        import torch

        name, products, where = 'bf16', bf16_speedups(torch.get_num_threads()), 'this CPU'
    else:
        return 'fp32', f'low precision is not supported on {device.type}'
    if products.trap:
        return 'fp32', f'bf16 products kill the process on {where} ({products.trap}); {REMEDY}'
    if products.conv is None:
        return 'fp32', f'{name} products could not be measured on {where}'
    return (name if products.worthwhile else 'fp32'), f'in {name}, {where} computes {products.figures}'


def measure(dtype: Any, device: Any, seconds: float = 0.5) -> Speedups:
    """Speedups of products in `dtype` over fp32: the two alternate for `seconds`, and the fastest run of each counts,
    so that other load on the machine matters little."""
    import torch
    from torch.nn import functional as F

    gpu = device.type == 'cuda'
    side, image = (4096, 256) if gpu else (512, 64)

    def timed(product: Any) -> float:
        start = time.perf_counter()
        product()
        if gpu:
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    kinds: dict[str, list[Any]] = {'conv': [], 'matmul': []}
    for each in (torch.float32, dtype):
        a = torch.ones(side, side, device=device, dtype=each)
        x = torch.ones(4, 64, image, image, device=device, dtype=each).to(memory_format=torch.channels_last)
        weight = torch.ones(64, 64, 3, 3, device=device, dtype=each).to(memory_format=torch.channels_last)
        kinds['conv'].append(lambda x=x, weight=weight: F.conv2d(x, weight, padding=1))
        kinds['matmul'].append(lambda a=a: a @ a)
    ratios = {}
    with torch.inference_mode():
        for kind, products in kinds.items():
            fastest = [float('inf')] * 2
            for product in products:
                timed(product)  # warm-up
            end = time.perf_counter() + seconds
            turns = 0
            while turns < MIN_REPEATS or time.perf_counter() < end:
                fastest = [min(best, timed(product)) for best, product in zip(fastest, products)]
                turns += 1
            ratios[kind] = fastest[0] / fastest[1]
    return Speedups(**ratios)


def main() -> None:
    """The child process: prints its measurements as JSON, or dies."""
    import torch

    if SIMULATED in os.environ and os.environ.get('ONEDNN_MAX_CPU_ISA', 'DEFAULT') == 'DEFAULT':
        os.kill(os.getpid(), signal.SIGILL)
    if len(sys.argv) > 1:
        torch.set_num_threads(int(sys.argv[1]))
    products = measure(torch.bfloat16, torch.device('cpu'))
    sys.stdout.write(json.dumps(asdict(products)) + '\n')


if __name__ == '__main__':
    main()
