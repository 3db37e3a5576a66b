"""Helpers for distributed runs, also usable without a process group; the only reader of RANK and WORLD_SIZE."""

import inspect
import io
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]  (its documented place)
from torch.distributed.rendezvous import rendezvous

from aesop.errors import UserError

T = TypeVar('T')

_gloo: Any = None  # for CPU tensors; None: the default group is gloo already


class SharedUserError(UserError):
    """A user error raised on every rank, so that only one of them has to report it."""


def read_launcher(name: str) -> None:
    """Checks that `--launcher` is what started this process; under `srun`, sets ranks and master address from SLURM.

    Raises:
        UserError: this process was not started by that launcher.
    """
    needed = {'pytorch': 'RANK', 'slurm': 'SLURM_PROCID'}
    starters = {'pytorch': 'torchrun --nproc_per_node=N train.py ...', 'slurm': 'srun (see scripts/train.sbatch)'}
    if name in needed and needed[name] not in os.environ:
        raise UserError(f'--launcher {name}: the process was not started by it; start it with {starters[name]}')
    if name == 'slurm':
        _read_slurm()


def _read_slurm() -> None:
    os.environ.setdefault('RANK', os.environ['SLURM_PROCID'])
    os.environ.setdefault('WORLD_SIZE', os.environ['SLURM_NTASKS'])
    os.environ.setdefault('LOCAL_RANK', os.environ['SLURM_LOCALID'])
    os.environ.setdefault('MASTER_PORT', str(20_000 + int(os.environ.get('SLURM_JOB_ID', 0)) % 20_000))
    if 'MASTER_ADDR' not in os.environ:
        command = ['scontrol', 'show', 'hostnames', os.environ['SLURM_JOB_NODELIST']]
        try:
            hosts = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        except (OSError, subprocess.SubprocessError) as error:
            raise UserError(f'--launcher slurm: {" ".join(command)} failed ({error}); set MASTER_ADDR') from error
        os.environ['MASTER_ADDR'] = hosts[0]


def setup(num_gpu: int | str = 'auto', timeout: float = 600) -> torch.device:
    """Joins the process group if several ranks were started, and picks this rank's device.

    Args:
        num_gpu: 0 keeps the run on the CPU; 'auto' or N uses this rank's GPU if there is one. MPS is not used: some
            losses and metrics compute in float64, which it lacks.
        timeout: seconds that a rank waits for the others, at the start and in each collective, before it raises.
    """
    global _gloo
    use_gpu = torch.cuda.is_available() and num_gpu != 0
    if use_gpu:
        if 'PYTORCH_ALLOC_CONF' not in os.environ:  # growing segments, for less fragmentation
            os.environ.setdefault('PYTORCH_CUDA_ALLOC_CONF', 'expandable_segments:True')
        torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count())
    if int(os.environ.get('WORLD_SIZE', 1)) > 1 and not dist.is_initialized():
        patience = timedelta(seconds=timeout)
        meeting = _fresh_store(patience) if 'TORCHELASTIC_RESTART_COUNT' in os.environ else {}
        dist.init_process_group('nccl' if use_gpu else 'gloo', timeout=patience, **meeting)
        _gloo = dist.new_group(backend='gloo', timeout=patience) if use_gpu else None
    return torch.device('cuda', torch.cuda.current_device()) if use_gpu else torch.device('cpu')


def _fresh_store(timeout: timedelta) -> dict[str, Any]:
    """Arguments of `init_process_group`: a store that holds only what the ranks of this attempt write.

    torchrun serves one store for all attempts, which keeps the addresses of dead ranks (PyTorch 2.4 to 2.14 at least),
    and restarted ranks may read those. So rank 0 opens a new store and publishes its port in torchrun's.
    """
    of_launcher, rank, world_size = next(rendezvous('env://', timeout=timeout))
    host, until = os.environ['MASTER_ADDR'], time.monotonic() + timeout.total_seconds()
    arguments = {'rank': rank, 'world_size': world_size}
    if rank == 0:
        store = TCPStore(host, 0, is_master=True, timeout=timeout, wait_for_workers=False)
        of_launcher.set('aesop/port', str(store.port))
        return {'store': store, **arguments}
    while True:
        try:
            port = int(of_launcher.get('aesop/port'))
            store = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=2), wait_for_workers=False)
            store.set_timeout(timeout)
            return {'store': store, **arguments}
        except RuntimeError:  # the port of an earlier attempt
            if time.monotonic() > until:
                raise


def shutdown() -> None:
    """Leaves the process group. A rank that failed must not call it: it would wait for the others."""
    global _gloo
    if dist.is_initialized():
        dist.destroy_process_group()
    _gloo = None


def should_report(error: UserError) -> bool:
    """Whether this rank reports a user error: the main rank if all ranks raise it, otherwise the rank that raised it.

    Before the process group is initialised, all ranks read the same files, so the first of each machine reports.
    """
    if dist.is_initialized():
        return is_main() or not isinstance(error, SharedUserError)
    return os.environ.get('LOCAL_RANK', '0') == '0'


def rank() -> int:
    """This process's rank, taken from the launcher's environment until the process group is initialised."""
    return dist.get_rank() if dist.is_initialized() else int(os.environ.get('RANK', 0))


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this rank writes the files and the log."""
    return rank() == 0


def restarted() -> bool:
    """Whether torchrun has restarted this worker after a failure."""
    return int(os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)) > 0


def launch_id() -> str:
    """Identifies the torchrun launch of this worker: unchanged by a restart, different for every launch."""
    return f'{os.environ.get("TORCHELASTIC_RUN_ID", "")}-{os.getppid()}'


def barrier(timeout: float | None = None) -> None:
    """Waits until all ranks have arrived; if some time out, the error on the main rank names them.

    Args:
        timeout: seconds; None: the timeout given to `setup`.
    """
    if dist.is_initialized():
        patience = None if timeout is None else timedelta(seconds=timeout)
        dist.monitored_barrier(_gloo, patience, wait_all_ranks=True)


def gather(value: Any, everywhere: bool = True) -> list[Any]:
    """`value` of every rank, in rank order, on every rank, or only on the main one (the others get []).

    Ranks exchange what a state file may hold, tensors and plain values: unpickling cannot run code.
    """
    if not dist.is_initialized():
        return [value]
    data = _pack(value)
    sizes = torch.zeros(world_size(), dtype=torch.int64)
    sizes[rank()] = len(data)
    dist.all_reduce(sizes, group=_gloo)
    padded = torch.cat([data, data.new_zeros(int(sizes.max()) - len(data))])
    parts = [torch.empty_like(padded) for _ in range(world_size())] if everywhere or is_main() else []
    if everywhere:
        dist.all_gather(parts, padded, group=_gloo)
    else:
        dist.gather(padded, parts or None, dst=0, group=_gloo)
    return [_unpack(part[:size]) for part, size in zip(parts, sizes.tolist())]


def broadcast(value: Any) -> Any:
    """Rank 0's `value`, tensors and plain values, on every rank."""
    if not dist.is_initialized():
        return value
    data = _pack(value) if is_main() else torch.empty(0, dtype=torch.uint8)
    size = torch.tensor([len(data)])
    dist.broadcast(size, src=0, group=_gloo)
    data = data if is_main() else torch.empty(int(size), dtype=torch.uint8)
    dist.broadcast(data, src=0, group=_gloo)
    return value if is_main() else _unpack(data)


def _pack(value: Any) -> torch.Tensor:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return torch.frombuffer(buffer.getbuffer(), dtype=torch.uint8)


def _unpack(data: torch.Tensor) -> Any:
    return torch.load(io.BytesIO(data.numpy().tobytes()), map_location='cpu', weights_only=True)


def on_main(function: Callable[[], T]) -> T:
    """The result of `function`, run on the main rank only, on every rank; a UserError there is raised on all."""
    value, problems = None, None
    if is_main():
        try:
            value = function()
        except UserError as error:
            problems = error.problems
    value, problems = broadcast((value, problems))
    if problems is not None:
        raise SharedUserError(problems)
    return value


def on_all(function: Callable[[], T]) -> T:
    """This rank's result of `function`, called on all ranks; a UserError on any of them is raised on all."""
    value: Any = None
    problems = []
    try:
        value = function()
    except UserError as error:
        problems = error.problems
    if found := list(dict.fromkeys(problem for of_rank in gather(problems) for problem in of_rank)):
        raise SharedUserError(found)
    return value


class Votes:
    """Flags that hold for all ranks as soon as one rank sets them, without blocking.

    They are reduced while the next iteration runs, so with several ranks they arrive one call late, on all at once.
    """

    def __init__(self) -> None:
        self._flags = torch.zeros(0, dtype=torch.uint8)
        self._sent: dist.Work | None = None

    def any_rank(self, *flags: bool) -> list[bool]:
        """Sends this rank's flags; returns, for each, whether any rank set it in the previous call."""
        if not dist.is_initialized():
            return list(flags)
        before = self.close() or [False] * len(flags)
        self._flags = torch.tensor(flags, dtype=torch.uint8)
        self._sent = dist.all_reduce(self._flags, dist.ReduceOp.MAX, group=_gloo, async_op=True)
        return before

    def close(self) -> list[bool]:
        """Waits for the reduction in flight, if any, and returns its result."""
        if self._sent is None:
            return []
        self._sent.wait()
        self._sent = None
        return [bool(flag) for flag in self._flags]


def reduce_mean(values: dict[str, torch.Tensor]) -> dict[str, float]:
    """The mean over ranks of scalar tensors, with one collective and one host sync."""
    if not values:
        return {}
    stacked = torch.stack([v.detach().float() for v in values.values()])
    if dist.is_initialized():
        dist.all_reduce(stacked)
        stacked /= world_size()
    return dict(zip(values, stacked.tolist()))


def reduce_max(flags: torch.Tensor) -> torch.Tensor:
    """The elementwise maximum of `flags` over ranks, in place. On a GPU the host does not wait for it."""
    if dist.is_initialized():
        dist.all_reduce(flags, dist.ReduceOp.MAX)
    return flags


@contextmanager
def no_sync(nets: Iterable[torch.nn.Module]) -> Iterator[None]:
    """Inside, gradients of wrapped networks accumulate on each rank until a backward pass outside synchronises them."""
    with ExitStack() as stack:
        for net in nets:
            if isinstance(net, torch.nn.parallel.DistributedDataParallel):
                stack.enter_context(net.no_sync())
        yield


def broadcast_buffers(nets: Iterable[torch.nn.Module]) -> None:
    """Broadcasts rank 0's buffers: BatchNorm's running statistics, which every rank collects from its own batches."""
    if dist.is_initialized():
        for net in nets:
            for buffer in net.buffers():
                dist.broadcast(buffer, 0)


def wrap_ddp(net: torch.nn.Module, find_unused_parameters: bool = False) -> torch.nn.Module:
    """`net` wrapped in DDP if there are several ranks and something to train, else `net` itself.

    Buffers (BatchNorm's running statistics) stay per rank: they are never read in training, and writing them between
    two forward passes of one step would invalidate the graph of the first.
    """
    if not dist.is_initialized() or not any(p.requires_grad for p in net.parameters()):
        return net
    options = inspect.signature(torch.nn.parallel.DistributedDataParallel).parameters
    name = 'forward_sync_buffers' if 'forward_sync_buffers' in options else 'broadcast_buffers'
    no_broadcast: dict[str, Any] = {name: False}
    return torch.nn.parallel.DistributedDataParallel(net, find_unused_parameters=find_unused_parameters, **no_broadcast)
