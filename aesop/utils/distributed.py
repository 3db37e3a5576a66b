"""Ranks of one run. The only reader of RANK, LOCAL_RANK and WORLD_SIZE; everything is safe without a process group."""

import inspect
import io
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import torch
import torch.distributed as dist

from aesop.errors import RunEnded, UserError
from aesop.utils.heartbeat import DONE, FAILED, USER_ERROR, Heartbeat

T = TypeVar('T')

JOINING = timedelta(minutes=10)  # how long the ranks wait for one another at the start
FOR_EVER = timedelta(days=7)  # for collectives: it is the heartbeat that ends a run in which a rank is missing
BROKEN = re.compile(r'gloo|nccl|c10d|connection (closed|reset|refused)|broken pipe|socket', re.IGNORECASE)

_store: dist.Store | None = None
_heartbeat: Heartbeat | None = None


def read_launcher(name: str) -> None:
    """Checks that `--launcher` is the one that started this process; from `srun` takes ranks and meeting point.

    Raises:
        UserError: the launcher named did not start this process.
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


def join() -> None:
    """Meets the other ranks, where several were started; from here on each watches over the others.

    Raises:
        RunEnded: they did not all come.
    """
    global _store, _heartbeat
    count = int(os.environ.get('WORLD_SIZE', 1))
    if count == 1 or _store is not None:
        return
    host, port = os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT'])
    try:
        store, *_ = next(dist.rendezvous('env://', timeout=JOINING))
        attempt = _agree(store, rank(), count)
        watched = dist.TCPStore(host, port, is_master=False, timeout=JOINING, wait_for_workers=False)
    except RuntimeError as error:
        raise RunEnded(
            f'the {count} ranks did not all meet at {host}:{port}: {error}. Were all started, and is that port open?'
        ) from error
    _store = dist.PrefixStore(attempt, store)
    _heartbeat = Heartbeat(dist.PrefixStore(attempt, watched), rank(), count, timeout=0)
    _heartbeat.start()


def _agree(store: dist.Store, rank: int, count: int) -> str:
    """A name for this meeting, the same on all ranks.

    After a restart the store may still hold what the ranks wrote before, addresses of processes that are gone too, and
    agents on several machines count restarts differently. So rank 0 names the meeting, and tells each rank under a word
    that nobody used before.
    """
    word = uuid4().hex
    if rank != 0:
        store.set(f'hello/{rank}', word)
        name = store.get(f'welcome/{word}').decode()
        store.set(f'{name}/{rank}', '')
        return name
    missing, until = set(range(1, count)), time.monotonic() + JOINING.total_seconds()
    while missing:
        for other in [other for other in missing if store.check([f'hello/{other}'])]:
            store.set(f'welcome/{store.get(f"hello/{other}").decode()}', word)
        missing = {other for other in missing if not store.check([f'{word}/{other}'])}
        if time.monotonic() > until:
            raise RuntimeError(f'no word from rank {", ".join(map(str, sorted(missing)))}')
        time.sleep(0.02)
    return word


def _waiting() -> AbstractContextManager[None]:
    return nullcontext() if _heartbeat is None else _heartbeat.waiting()


def setup(num_gpu: int | str = 'auto', timeout: float = 600) -> torch.device:
    """Joins the process group where several ranks were started, and picks this rank's device.

    Args:
        num_gpu: 0 keeps the run on the CPU; 'auto' or N uses this rank's GPU where there is one.
        timeout: seconds without progress on any rank after which the run is said to hang, and ended.
    """
    join()
    use_gpu = torch.cuda.is_available() and num_gpu != 0
    if use_gpu:
        if 'PYTORCH_ALLOC_CONF' not in os.environ:  # memory in segments that grow, so that less of it lies in gaps
            os.environ.setdefault('PYTORCH_CUDA_ALLOC_CONF', 'expandable_segments:True')
        torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count())
    if _store is not None and not dist.is_initialized():
        _heartbeat.timeout = timeout
        # Beside NCCL for the gradients, gloo carries what only the CPUs have to say to each other.
        backend = 'cpu:gloo,cuda:nccl' if use_gpu else 'gloo'
        count = int(os.environ['WORLD_SIZE'])
        dist.init_process_group(backend, store=_store, rank=rank(), world_size=count, timeout=FOR_EVER)
    return torch.device('cuda', torch.cuda.current_device()) if use_gpu else torch.device('cpu')


def shutdown(error: BaseException | None = None) -> None:
    """Leaves the other ranks; what ended this one is told to them, unless it is a sentence that the user has read."""
    global _store, _heartbeat
    if _heartbeat is not None:
        left = DONE if error is None else USER_ERROR if isinstance(error, UserError) else FAILED
        unsaid = error is not None and not isinstance(error, UserError | RunEnded)
        _heartbeat.leave(left, f'{type(error).__name__}: {error}'.split('\n')[0] if unsaid else '')
    if dist.is_initialized() and error is None:  # with a rank gone, taking the group down would wait for it
        dist.destroy_process_group()
    _store = _heartbeat = None


def first_to_tell(sentence: str) -> bool:
    """Whether no other rank has told this sentence yet: what goes wrong on all ranks is told once, by the main one."""
    if _store is None:
        return True
    if not is_main():
        time.sleep(1)
    try:
        return _store.add(f'told/{sentence}', 1) == 1
    except RuntimeError:  # the store's rank is gone
        return True


@contextmanager
def explaining() -> Iterator[None]:
    """Where the talk with the other ranks breaks inside, waits for the heartbeat to name the one that is gone.

    That ends this process. If none is gone, RunEnded says so.
    """
    try:
        yield
    except RuntimeError as error:
        if _heartbeat is None or isinstance(error, RunEnded) or not BROKEN.search(str(error)):
            raise
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun sends it at once, and kills half a minute later
        raise _heartbeat.explain(error) from error


def progress(doing: str) -> None:
    """Notes that this rank gets on, and with what; a run without any progress on any rank is ended."""
    if _heartbeat is not None:
        _heartbeat.progress(doing)


def before_the_end(function: Callable[[], Any]) -> None:
    """Has `function` called before this process is ended because another rank is gone."""
    if _heartbeat is not None:
        _heartbeat.at_end.append(function)


def rank() -> int:
    """This process's number, from the launcher's word until the process group stands."""
    return dist.get_rank() if dist.is_initialized() else int(os.environ.get('RANK', 0))


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this rank writes the files and the log."""
    return rank() == 0


def restarted() -> bool:
    """Whether torchrun has started this worker again after a failure."""
    return int(os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)) > 0


def launch_id() -> str:
    """Names the torchrun that started this worker: the same after a restart, another for every other launch."""
    return f'{os.environ.get("TORCHELASTIC_RUN_ID", "")}-{os.getppid()}'


def barrier() -> None:
    if dist.is_initialized():
        with _waiting():
            dist.all_reduce(torch.zeros(1))  # on the CPU: dist.barrier would hold the GPU too


def gather(value: Any, everywhere: bool = True) -> list[Any]:
    """`value` of every rank, in rank order, on every rank, or else on the main one alone (the others get []).

    Ranks exchange what a state file may hold, tensors and plain values: nothing that comes in can run code.
    """
    if not dist.is_initialized():
        return [value]
    data = _pack(value)
    sizes = torch.zeros(world_size(), dtype=torch.int64)
    sizes[rank()] = len(data)
    with _waiting():
        dist.all_reduce(sizes)
        padded = torch.cat([data, data.new_zeros(int(sizes.max()) - len(data))])
        parts = [torch.empty_like(padded) for _ in range(world_size())] if everywhere or is_main() else None
        if everywhere:
            dist.all_gather(parts, padded)
        else:
            dist.gather(padded, parts, dst=0)
    return [_unpack(part[:size]) for part, size in zip(parts or (), sizes.tolist())]


def broadcast(value: Any) -> Any:
    """Rank 0's `value`, tensors and plain values, on every rank."""
    if not dist.is_initialized():
        return value
    data = _pack(value) if is_main() else torch.empty(0, dtype=torch.uint8)
    size = torch.tensor([len(data)])
    with _waiting():
        dist.broadcast(size, src=0)
        data = data if is_main() else torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(data, src=0)
    return value if is_main() else _unpack(data)


def _pack(value: Any) -> torch.Tensor:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return torch.frombuffer(buffer.getbuffer(), dtype=torch.uint8)


def _unpack(data: torch.Tensor) -> Any:
    return torch.load(io.BytesIO(data.numpy()), map_location='cpu', weights_only=True)


def on_main(function: Callable[[], T]) -> T:
    """The result of `function`, run by the main rank alone, on every rank; a user's mistake there is raised by all."""
    value, problems = None, None
    if is_main():
        try:
            value = function()
        except UserError as error:
            problems = error.problems
    value, problems = broadcast((value, problems))
    if problems is not None:
        raise UserError(problems)
    return value


class Votes:
    """Flags that hold for all ranks as soon as one raises them, without a rank ever waiting for another.

    They travel while the next iteration is computed, so on several ranks they arrive one call late, on all at once.
    """

    def __init__(self) -> None:
        self._flags: torch.Tensor | None = None
        self._sent: Any = None

    def cast(self, *flags: bool) -> list[bool]:
        """Gives this rank's flags; returns what all ranks said in the call before."""
        if not dist.is_initialized():
            return list(flags)
        before = self.close() or [False] * len(flags)
        self._flags = torch.tensor(flags, dtype=torch.uint8)
        self._sent = dist.all_reduce(self._flags, dist.ReduceOp.MAX, async_op=True)
        return before

    def close(self) -> list[bool]:
        """Waits for what is still on its way."""
        if self._sent is None:
            return []
        with _waiting():
            self._sent.wait()
        self._sent = None
        return [bool(flag) for flag in self._flags]


def mean(values: dict[str, torch.Tensor]) -> dict[str, float]:
    """The mean over ranks of scalar tensors, in one collective and one host sync."""
    if not values:
        return {}
    stacked = torch.stack([v.detach().float() for v in values.values()])
    if dist.is_initialized():
        dist.all_reduce(stacked)
        stacked /= world_size()
    return dict(zip(values, stacked.tolist()))


def maximum(flags: torch.Tensor) -> torch.Tensor:
    """The elementwise maximum of `flags` over ranks, in place. On a GPU the host does not wait for it."""
    if dist.is_initialized():
        dist.all_reduce(flags, dist.ReduceOp.MAX)
    return flags


@contextmanager
def no_sync(nets: Iterable[torch.nn.Module]) -> Iterator[None]:
    """Inside, gradients of networks that `wrap` made add up on each rank, until a backward pass outside shares them."""
    with ExitStack() as stack:
        for net in nets:
            if isinstance(net, torch.nn.parallel.DistributedDataParallel):
                stack.enter_context(net.no_sync())
        yield


def share_buffers(nets: Iterable[torch.nn.Module]) -> None:
    """Gives all ranks rank 0's buffers: BatchNorm's running statistics, which each rank collects of its own batches."""
    if dist.is_initialized():
        for net in nets:
            for buffer in net.buffers():
                dist.broadcast(buffer, 0)


def wrap(net: torch.nn.Module, find_unused_parameters: bool = False) -> torch.nn.Module:
    """`net` under DDP where there are several ranks and something to train, else `net` itself.

    Buffers (BatchNorm's running statistics) stay per rank: they are never read in training, and writing them between
    two forward passes of one step would invalidate the graph of the first.
    """
    if not dist.is_initialized() or not any(p.requires_grad for p in net.parameters()):
        return net
    options = inspect.signature(torch.nn.parallel.DistributedDataParallel).parameters
    no_broadcast = 'forward_sync_buffers' if 'forward_sync_buffers' in options else 'broadcast_buffers'
    return torch.nn.parallel.DistributedDataParallel(
        net, find_unused_parameters=find_unused_parameters, **{no_broadcast: False}
    )
