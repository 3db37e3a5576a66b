"""L_AESOP in a bare PyTorch loop: fine-tunes a small x4 network on a folder of images.

    pip install aesop-sr
    python examples/plain_loop.py FOLDER

The relevant lines are marked with (1), (2) and (3). In a real training, L_AESOP replaces the pixel loss and is combined
with a perceptual and an adversarial loss.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2 import functional as T

from aesop import AESOPLoss  # (1)


class Crops(Dataset):
    """Random crops of the images in a folder and their bicubic x1/4 versions; RGB in [0, 1]."""

    def __init__(self, folder: str | Path, size: int = 128) -> None:
        self.files = sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in ('.png', '.jpg', '.jpeg'))
        self.size = size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = decode_image(str(self.files[index]), ImageReadMode.RGB).float() / 255  # (3, height, width)
        top, left = (int(torch.randint(side - self.size + 1, ())) for side in image.shape[-2:])
        gt = T.crop(image, top, left, self.size, self.size)
        small = [self.size // 4, self.size // 4]
        return T.resize(gt, small, interpolation=T.InterpolationMode.BICUBIC, antialias=True).clamp(0, 1), gt


def network(width: int = 32) -> nn.Module:
    """(N, 3, h, w) -> (N, 3, 4h, 4w); replace it with your own."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 3 * 16, 3, padding=1),
        nn.PixelShuffle(4),
    )


def train(folder: str | Path, steps: int, weights: str | None = None, size: int = 128, batch: int = 8) -> list[float]:
    """Returns the loss of every step."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    net = network().to(device)
    aesop = (AESOPLoss.from_pretrained(weights) if weights else AESOPLoss.from_pretrained()).to(device)  # (2)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    loader = DataLoader(Crops(folder, size), batch, shuffle=True, drop_last=True)
    losses: list[float] = []
    while len(losses) < steps:
        for lq, gt in loader:
            with torch.autocast(device, torch.bfloat16, enabled=device == 'cuda'):
                sr = net(lq.to(device))
            loss = aesop(sr, gt.to(device))  # (3)
            optimiser.zero_grad()
            loss.backward()
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
