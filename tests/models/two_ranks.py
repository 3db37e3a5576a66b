"""Run by torchrun in test_two_ranks.py: each rank trains every kind of model on its share of the batches."""

import sys

import torch
import torch.distributed as dist

from aesop import distributed
from tests.models import test_two_ranks as cases

if __name__ == '__main__':
    folder = sys.argv[1]
    distributed.setup(num_gpu=0)
    for kind in cases.KINDS:
        model = cases.build(kind, f'{folder}/ae.pth')
        logs = [model.step(cases.shards(batch)[distributed.rank()], i) for i, batch in cases.iterations()]
        weights = {name: dict(net.named_parameters()) for name, net in model._nets.items()}
        torch.save({'weights': weights, 'means': [distributed.mean(terms) for terms in logs]},
                   f'{folder}/{kind}_{distributed.rank()}.pth')  # fmt: skip
    dist.barrier()
    distributed.shutdown()
