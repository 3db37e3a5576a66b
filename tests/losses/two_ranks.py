"""A bare loop with L_AESOP, in one process or, run by torchrun, on a share of the batches."""

import faulthandler
import sys

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from aesop import AESOPLoss

WAYS = ('outside', 'inside')  # of keeping the loss: beside the wrapped network, or within what is wrapped


class Supervised(nn.Module):
    """The network together with its loss."""

    def __init__(self, net: nn.Module, aesop: AESOPLoss) -> None:
        super().__init__()
        self.net, self.aesop = net, aesop

    def forward(self, lq: Tensor, gt: Tensor) -> Tensor:
        return self.aesop(self.net(lq), gt)


def train(way: str) -> dict[str, Tensor]:
    """The weights of a small network after three steps."""
    ranks, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 48, 3, padding=1), nn.PixelShuffle(4))
    step = Supervised(net, AESOPLoss.from_pretrained())
    if ranks > 1 and way == 'inside':
        step = DistributedDataParallel(step)
    elif ranks > 1:
        step.net = DistributedDataParallel(net)
    optimiser = torch.optim.SGD(step.parameters(), 0.5)
    for _ in range(3):
        lq, gt = torch.rand(4, 3, 8, 8, generator=generator), torch.rand(4, 3, 32, 32, generator=generator)
        loss = step(lq.chunk(ranks)[rank], gt.chunk(ranks)[rank])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.state_dict()


if __name__ == '__main__':
    faulthandler.dump_traceback_later(200, exit=True)  # a rank that hangs says where, and ends whoever started it
    dist.init_process_group('gloo')
    torch.save({way: train(way) for way in WAYS}, f'{sys.argv[1]}/{dist.get_rank()}.pth')
    dist.destroy_process_group()
