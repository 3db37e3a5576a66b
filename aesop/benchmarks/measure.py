"""Shared by the benchmarks: interleaved timing, peak memory, the machine's peak rates, and the report."""

import json
import math
import os
import platform
import re
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_all_start_methods, get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from aesop.utils.console import say
from aesop.utils.files import write_text

Row = dict[str, Any]


@dataclass
class Timing:
    """Seconds of each round of one variant."""

    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a share of the median."""
        if len(self.seconds) < 2:
            return math.nan
        first, _, third = statistics.quantiles(self.seconds, n=4, method='inclusive')
        return (third - first) / 2 / self.median


def interleave(
    variants: Mapping[str, Callable[[], object]],
    rounds: int,
    warmup: int = 1,
    device: str | torch.device = 'cpu',
    before: Callable[[], object] = lambda: None,
) -> dict[str, Timing]:
    """Calls every variant once a round, in turn, so that what else the machine does touches all alike.

    The order is reversed in every second round. The first `warmup` rounds are not counted, nor is `before`, which is
    called ahead of each round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(warmup + rounds):
        before()
        for name in list(variants)[:: -1 if number % 2 else 1]:
            elapsed = timed(variants[name], device)
            if number >= warmup:
                seconds[name].append(elapsed)
    return {name: Timing(values) for name, values in seconds.items()}


def timed(function: Callable[[], object], device: str | torch.device = 'cpu') -> float:
    """Seconds of one call, the device's work included."""
    synchronise(device)
    start = time.perf_counter()
    function()
    synchronise(device)
    return time.perf_counter() - start


def synchronise(device: str | torch.device) -> None:
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)


# Imported once, by a server whose forks then start in milliseconds.
PRELOADED = tuple(f'aesop.benchmarks.{name}' for name in ('step', 'inference', 'validation', 'training', 'upscale'))


def own_processes() -> Any:
    """What makes processes that share nothing with this one."""
    if 'forkserver' not in get_all_start_methods():  # Windows
        return get_context('spawn')
    context = get_context('forkserver')
    context.set_forkserver_preload([*PRELOADED, 'lpips', 'spandrel'])
    return context


def in_own_process(function: Callable[..., Any], *args: Any) -> tuple[Any, int]:
    """function(*args) in a process of its own: what it returns, and the peak memory in bytes.

    On a GPU that is the peak of the allocated device memory, else of the resident memory less what is there before,
    when all is imported (750 MB with a PyTorch for GPUs, 250 MB with one without). `function` has to be importable, and
    its arguments and result picklable.
    """
    with ProcessPoolExecutor(1, own_processes()) as pool:
        return pool.submit(_with_peak, function, args).result()


def _with_peak(function: Callable[..., Any], args: Sequence[Any]) -> tuple[Any, int]:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    before = peak_rss()
    result = function(*args)
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return result, torch.cuda.max_memory_allocated()
    return result, peak_rss() - before


def _end_with_parent() -> None:
    """Otherwise a worker whose parent was killed would wait for work for ever, and keep its memory."""
    if parent := parent_process():
        wait([parent.sentinel])
        os._exit(1)


def peak_rss() -> int:
    """The largest resident memory of this process so far, bytes."""
    status = Path('/proc/self/status')
    if status.exists():
        return 1024 * int(status.read_text().split('VmHWM:')[1].split()[0])
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == 'Darwin' else 1024)


def product_rates(device: str | torch.device = 'cpu', seconds: float = 0.25) -> dict[str, float]:
    """FLOP/s of the fastest of many products, by '<precision> <kind>': a square matrix product, and the convolution
    that these networks are made of (3x3, 64 channels), for fp32 and bf16. The most that a step could reach.

    Products grow until one takes 0.05 s: a processor without bf16 products imitates them a thousand times slower.
    """
    on_gpu = torch.device(device).type == 'cuda'
    rates = {}
    for precision, dtype in (('fp32', torch.float32), ('bf16', torch.bfloat16)):
        for kind, product, sizes in (
            ('matmul', _matmul, (8192,) if on_gpu else (256, 512, 1024, 2048)),
            ('conv', _conv, (256,) if on_gpu else (16, 32, 64, 128)),
        ):
            best = 0.0
            for size in sizes:
                call, flop = product(size, device, dtype)
                call()
                fastest, end = timed(call, device), time.perf_counter() + seconds
                while time.perf_counter() < end:
                    fastest = min(fastest, timed(call, device))
                best = max(best, flop / fastest)
                if fastest > 0.05:
                    break
            rates[f'{precision} {kind}'] = best
    return rates


def _matmul(side: int, device: str | torch.device, dtype: torch.dtype) -> tuple[Callable[[], object], int]:
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in 'ab')
    return lambda: a @ b, 2 * side**3


def _conv(side: int, device: str | torch.device, dtype: torch.dtype) -> tuple[Callable[[], object], int]:
    x = torch.randn(4, 64, side, side, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    weight = torch.randn(64, 64, 3, 3, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    return torch.no_grad()(lambda: F.conv2d(x, weight, padding=1)), 2 * 9 * 64**2 * 4 * side**2


class FlopCounter(TorchDispatchMode):
    """Counts the products inside, 2 FLOP for each multiplication with its addition, by PyTorch's own table.

    PyTorch's FlopCounterMode also looks for the module of each, which fails where a step asks for gradients of a leaf.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, packet = kwargs or {}, func._overloadpacket
        if packet not in flop_registry:
            with self:  # in inference mode a convolution arrives as `conv2d`, which stands for another operator
                out = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if out is NotImplemented else out
        out = func(*args, **kwargs)
        self.total += flop_registry[packet](*args, **kwargs, out_val=out)
        return out


def environment(device: str | torch.device = 'cpu') -> Row:
    """What the numbers depend on."""
    about = {
        'date': time.strftime('%Y-%m-%d'),
        'processor': _processor(),
        'cores': os.cpu_count(),
        'threads': torch.get_num_threads(),
        'system': f'{platform.system()} {platform.machine()}',
        'python': platform.python_version(),
        'torch': torch.__version__,
    }
    if torch.device(device).type == 'cuda':
        about |= {'gpu': torch.cuda.get_device_name(device), 'cuda': torch.version.cuda}
    return about


def _processor() -> str:
    cpuinfo = Path('/proc/cpuinfo')
    found = re.search(r'model name\s*: (.+)', cpuinfo.read_text()) if cpuinfo.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


@dataclass
class Table:
    """A titled table of a report: rows of {column: value}, and sentences under the title."""

    title: str
    rows: list[Row]
    text: str = ''

    def markdown(self) -> str:
        columns = list(dict.fromkeys(column for row in self.rows for column in row))
        lines = [columns, ['---'] * len(columns), *([_cell(row.get(c)) for c in columns] for row in self.rows)]
        table = '\n'.join(f'| {" | ".join(line)} |' for line in lines)
        return '\n\n'.join(part for part in (f'## {self.title}', self.text, table) if part)


def _cell(value: Any) -> str:
    """A number with three significant digits, whole numbers in full, nothing for what was not measured."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ''
    if isinstance(value, float):
        return f'{value:.3g}' if abs(value) < 1000 else f'{value:,.0f}'
    return str(value)


def profiled(name: str, function: Callable[[], object], device: str | torch.device = 'cpu') -> Table:
    """The operators that a call spends its time in."""
    on_gpu = torch.device(device).type == 'cuda'
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as trace:
        function()
        synchronise(device)
    kinds = [
        (event.key, event.self_device_time_total if on_gpu else event.self_cpu_time_total, event.count)
        for event in trace.key_averages()
    ]
    total = sum(time for _, time, _ in kinds)
    kinds = sorted(kinds, key=lambda kind: -kind[1])[:15]
    rows = [{'operator': key, 'share': time / total, 'ms': time / 1000, 'calls': count} for key, time, count in kinds]
    return Table(f'Where the time goes: {name}', rows)


def title_and_text(doc: str | None) -> tuple[str, str]:
    """The first paragraph of a benchmark's docstring as a title, and the rest: what was measured and how."""
    title, _, text = (doc or '').partition('\n\n')
    return title.rstrip('.'), text.strip()


def write(folder: Path, name: str, command: str, about: Row, title: str, text: str, tables: Sequence[Table]) -> None:
    """Writes `name`.json (everything) and `name`.md (the tables), and prints the latter.

    Args:
        command: what was called.
        about: `environment()`, and what else describes this run.
        text: what was measured and how, in sentences.
    """
    content = {'command': command, 'environment': about, 'tables': {t.title: _plain(t.rows) for t in tables}}
    where = ', '.join(f'{key} {value}' for key, value in about.items())
    parts = [f'# {title}', text, f'    {command}', f'{where}.', *(table.markdown() for table in tables)]
    write_text(folder / f'{name}.json', json.dumps(content, indent=1, allow_nan=False) + '\n')
    write_text(folder / f'{name}.md', '\n\n'.join(parts) + '\n')
    say('\n\n'.join(parts))


def _plain(value: Any) -> Any:
    """JSON has no NaN or infinity: None stands for them."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
