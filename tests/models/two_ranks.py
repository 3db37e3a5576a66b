"""Run by torchrun in test_two_ranks.py: each rank trains every kind of model on its share of the batches."""

import copy
import sys

import torch
import torch.distributed as dist

from aesop.utils import distributed
from tests.models import test_two_ranks as cases

if __name__ == '__main__':
    folder = sys.argv[1]
    distributed.setup(num_gpu=0)
    rank = distributed.rank()
    for kind, accumulate in cases.CASES:
        model = cases.build(kind, f'{folder}/ae.pth', accumulate)
        states, means = [copy.deepcopy(model.state_dict())], []
        for i, batch in cases.iterations():
            means.append(distributed.reduce_mean(model.step(cases.shards(batch)[rank], i)))
            states.append(copy.deepcopy(model.state_dict()))
        torch.save({'states': states, 'means': means}, f'{folder}/{kind}_{accumulate}_{rank}.pth')

    model = cases.build('esrgan', f'{folder}/ae.pth', accumulate=2)
    told = {'skipped': [], 'moved': []}
    for i, batch in cases.iterations()[:3]:
        share = cases.shards(batch)[rank]
        if i == 2 and rank == 1:
            share['gt'][0] = torch.nan
        before = copy.deepcopy(model.state_dict())
        model.step(share, i)
        told['skipped'].append(model.skipped.item())
        told['moved'].append(not cases.alike(before, model.state_dict()))
    torch.save(told, f'{folder}/nan_{rank}.pth')
    dist.barrier()
    distributed.shutdown()
