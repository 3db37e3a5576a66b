"""Whether low-precision products work on this machine, and pay: tried out, not read from a table of processors.

Some virtual machines announce AMX and kill the process that uses it (SIGILL); on some processors bf16 works, but slower
than fp32. On a CPU both are asked of a child process, which a trap may kill. This module loads no PyTorch by itself, so
that a program can ask before it does.
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

PAYS = 1.2  # how many times as fast as fp32 both kinds of product have to be: casts and rounding cost something too
WITHOUT_AMX = 'AVX512_CORE_BF16'
REMEDY = f'set ONEDNN_MAX_CPU_ISA={WITHOUT_AMX} in the environment, or take fp32'
SIMULATED = 'AESOP_SIMULATE_TRAP'  # for tests: the child dies as on a machine that announces AMX and traps
LEAST_TURNS = 8  # however busy the machine is
SECONDS = 60  # that the child may take, most of which is loading PyTorch


@dataclass(frozen=True)
class Products:
    """What products in low precision do here.

    Attributes:
        trap: the name of the signal that they end a process with; None where they work.
        conv, matmul: their rate as a multiple of that in fp32; None where it is not known.
    """

    trap: str | None = None
    conv: float | None = None
    matmul: float | None = None

    @property
    def pay(self) -> bool:
        return self.conv is not None and min(self.conv, self.matmul) >= PAYS

    @property
    def figures(self) -> str:
        return f'convolutions {self.conv:.2g} and matrix products {self.matmul:.2g} times as fast as in fp32'


@cache
def bf16_products(threads: int | None = None) -> Products:
    """What bf16 products do on this CPU; asked once a process. It takes a second, and the loading of PyTorch.

    Args:
        threads: of the products; None: as many as PyTorch takes by itself.
    """
    command = [sys.executable, '-m', 'aesop.utils.probe', *([str(threads)] if threads else [])]
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join(part for part in (package, os.environ.get('PYTHONPATH')) if part)
    try:
        child = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, env={**os.environ, 'PYTHONPATH': path}
        )
    except (OSError, subprocess.TimeoutExpired):
        return Products()
    if child.returncode < 0:
        return Products(trap=signal.Signals(-child.returncode).name)
    try:
        return Products(**json.loads(child.stdout.splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        return Products()


def may_trap() -> bool:
    """Whether this CPU announces AMX: of others no trap is known, and they need not be asked before a bf16 run."""
    if SIMULATED in os.environ:
        return True
    cpuinfo = Path('/proc/cpuinfo')
    return cpuinfo.exists() and 'amx_bf16' in cpuinfo.read_text()


def check_bf16(where: str) -> None:
    """Raises: UserError: bf16 products end a process on this CPU. `where` is the option that asks for them."""
    if may_trap() and (trap := bf16_products().trap):
        raise UserError(
            f'{where}: bf16 products end a process on this CPU ({trap}), which announces AMX and does not let it be '
            f'used; {REMEDY}'
        )


def choose_precision(device: Any) -> tuple[str, str]:
    """('fp32', 'bf16' or 'fp16', why, in a sentence) for `precision: auto` on a torch.device."""
    if device.type == 'cuda':
        import torch

        name = 'bf16' if torch.cuda.is_bf16_supported(including_emulation=False) else 'fp16'
        products, where = measured(getattr(torch, {'bf16': 'bfloat16', 'fp16': 'float16'}[name]), device), 'this GPU'
    elif device.type == 'cpu':
        import torch

        name, products, where = 'bf16', bf16_products(torch.get_num_threads()), 'this CPU'
    else:
        return 'fp32', f'nothing is known of low precision on {device.type}'
    if products.trap:
        return 'fp32', f'bf16 products end a process on {where} ({products.trap}); {REMEDY}'
    if products.conv is None:
        return 'fp32', f'{name} products could not be tried out on {where}'
    return (name if products.pay else 'fp32'), f'in {name}, {where} makes {products.figures}'


def measured(dtype: Any, device: Any, seconds: float = 0.5) -> Products:
    """The rates of products in `dtype` relative to those in fp32: both take turns for so many seconds, and the fastest
    of each count, so that what else the machine does matters little."""
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
                timed(product)  # the first call prepares
            end = time.perf_counter() + seconds
            turns = 0
            while turns < LEAST_TURNS or time.perf_counter() < end:
                fastest = [min(best, timed(product)) for best, product in zip(fastest, products)]
                turns += 1
            ratios[kind] = fastest[0] / fastest[1]
    return Products(**ratios)


def main() -> None:
    """The child: prints what it measured as JSON, or dies."""
    import torch

    if SIMULATED in os.environ and os.environ.get('ONEDNN_MAX_CPU_ISA', 'DEFAULT') == 'DEFAULT':
        os.kill(os.getpid(), signal.SIGILL)
    if len(sys.argv) > 1:
        torch.set_num_threads(int(sys.argv[1]))
    products = measured(torch.bfloat16, torch.device('cpu'))
    sys.stdout.write(json.dumps(asdict(products)) + '\n')


if __name__ == '__main__':
    main()
