"""L_AESOP with Hugging Face Accelerate: the training of plain_loop.py on any number of devices.

    pip install aesop-sr accelerate
    accelerate launch examples/accelerate_loop.py FOLDER

The loss has no trainable parameters, so it is only moved with `.to(device)` and not passed to `accelerator.prepare`.
"""

import argparse
from pathlib import Path

import torch
from accelerate import Accelerator
from plain_loop import Crops, network
from torch.utils.data import DataLoader

from aesop import AESOPLoss


def train(folder: str | Path, steps: int, weights: str | None = None, size: int = 128, batch: int = 8) -> list[float]:
    """Returns the loss of every step."""
    accelerator = Accelerator()
    aesop = AESOPLoss.from_pretrained(weights) if weights else AESOPLoss.from_pretrained()
    aesop = aesop.to(accelerator.device)
    net = network()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    loader = DataLoader(Crops(folder, size), batch, shuffle=True, drop_last=True)
    net, optimiser, loader = accelerator.prepare(net, optimiser, loader)
    losses: list[float] = []
    while len(losses) < steps:
        for lq, gt in loader:
            loss = aesop(net(lq), gt)
            optimiser.zero_grad()
            accelerator.backward(loss)
            optimiser.step()
            losses.append(loss.item())
    return losses


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder')
    parser.add_argument('--steps', type=int, default=200)
    parser.add_argument('--weights', help="auto-encoder: a path or hf://owner/repository; default: the package's own")
    arguments = parser.parse_args()
    for step, value in enumerate(train(arguments.folder, arguments.steps, arguments.weights), 1):
        if step % 10 == 0:
            print(f'{step}: {value:.4f}')
