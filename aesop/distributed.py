"""Ranks of one run. The only reader of RANK, LOCAL_RANK and WORLD_SIZE; everything is safe without a process group."""

import inspect
import os
import subprocess
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from aesop.errors import UserError

T = TypeVar('T')


def read_slurm() -> None:
    """Takes rank, world size and meeting point from SLURM's variables, where `srun` started this process."""
    if 'SLURM_PROCID' not in os.environ:
        return
    os.environ.setdefault('RANK', os.environ['SLURM_PROCID'])
    os.environ.setdefault('WORLD_SIZE', os.environ['SLURM_NTASKS'])
    os.environ.setdefault('LOCAL_RANK', os.environ['SLURM_LOCALID'])
    os.environ.setdefault('MASTER_PORT', '29500')
    if 'MASTER_ADDR' not in os.environ:
        command = ['scontrol', 'show', 'hostnames', os.environ['SLURM_JOB_NODELIST']]
        hosts = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        os.environ['MASTER_ADDR'] = hosts[0]


def setup(num_gpu: int | str = 'auto', timeout: timedelta = timedelta(minutes=10)) -> torch.device:
    """Joins the process group where several ranks were started, and picks this rank's device.

    Args:
        num_gpu: 0 keeps the run on the CPU; 'auto' or N uses this rank's GPU where there is one.
        timeout: how long a collective waits for a rank that is late.
    """
    use_gpu = torch.cuda.is_available() and num_gpu != 0
    if use_gpu:
        torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count())
    if int(os.environ.get('WORLD_SIZE', 1)) > 1 and not dist.is_initialized():
        dist.init_process_group('nccl' if use_gpu else 'gloo', timeout=timeout)
    return torch.device('cuda', torch.cuda.current_device()) if use_gpu else torch.device('cpu')


def shutdown() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


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
        dist.barrier()


def gather(value: Any) -> list[Any]:
    """`value` of every rank, in rank order, on every rank."""
    values = [None] * world_size()
    if dist.is_initialized():
        dist.all_gather_object(values, value)
    else:
        values[0] = value
    return values


def broadcast(value: Any) -> Any:
    """Rank 0's `value` on every rank."""
    values = [value]
    if dist.is_initialized():
        dist.broadcast_object_list(values, src=0)
    return values[0]


def on_main(function: Callable[[], T]) -> T:
    """The result of `function`, run by the main rank alone, on every rank; a user's mistake there is raised by all."""
    outcome = None
    if is_main():
        try:
            outcome = function()
        except UserError as error:
            outcome = error
    outcome = broadcast(outcome)
    if isinstance(outcome, UserError):
        raise outcome
    return outcome


def mean(values: dict[str, torch.Tensor]) -> dict[str, float]:
    """The mean over ranks of scalar tensors, in one collective and one host sync."""
    if not values:
        return {}
    stacked = torch.stack([v.detach().float() for v in values.values()])
    if dist.is_initialized():
        dist.all_reduce(stacked)
        stacked /= world_size()
    return dict(zip(values, stacked.tolist()))


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
