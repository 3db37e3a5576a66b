"""Draws the steps of the real-world degradation of a photograph: docs/images/degradation.png.

python scripts/show_degradation.py [--image PATH] [--seed N] [--output PATH]
"""

import argparse
import tempfile
from importlib.resources import files
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import torch

from aesop.data import build_dataset
from aesop.data.degradation.kernels import gaussian, plateau, sinc
from aesop.data.degradation.real import Draw, RealDegradation
from aesop.utils.images import read_image, save_image, to_uint8

COLUMNS = 6
SHOWN = 0.2, 0.7  # of each side
KERNELS = {
    'iso': gaussian(21, 2, 2),
    'aniso': gaussian(21, 3, 1, 0.6),
    'generalized_iso': gaussian(21, 2.5, 2.5, beta=3),
    'generalized_aniso': gaussian(21, 3, 1, 0.6, beta=0.5),
    'plateau_iso': plateau(21, 2.5, 2.5, beta=2),
    'plateau_aniso': plateau(21, 3, 1, 0.6, beta=2),
    'sinc, cutoff pi/3': sinc(21, 3.14159 / 3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--image', type=Path, default=Path(str(files('skimage') / 'data/astronaut.png')))
    parser.add_argument('--seed', type=int, default=0, help='another seed: other choices')
    parser.add_argument('--output', type=Path, default=Path('docs/images/degradation.png'))
    arguments = parser.parse_args()

    sample = sample_of(arguments.image, arguments.seed)
    draw = Draw([sample['seed']], 'cpu')
    names = ('gt', 'kernel1', 'kernel2', 'sinc_kernel')
    steps = RealDegradation(gt_usm=True).stages(*(sample[name][None] for name in names), draw)
    panels = [('ground truth', sample['gt']), *((label, images[0]) for label, images in steps)]

    rows = -(-len(panels) // COLUMNS)
    figure = plt.figure(figsize=(2.1 * COLUMNS, 2.35 * rows + 1.9), layout='constrained')
    figure.suptitle('One sample, step by step (the middle of each image, with its whole size)', fontsize=10)
    upper, lower = figure.subfigures(2, 1, height_ratios=[2.35 * rows, 1.9])
    for place, (label, image) in enumerate(panels, 1):
        show(
            upper.add_subplot(rows, COLUMNS, place), to_uint8(image), f'{label}\n{image.shape[-1]} x {image.shape[-2]}'
        )
    lower.suptitle('Kinds of kernel, with examples of their parameters', fontsize=9)
    for place, (label, kernel) in enumerate(KERNELS.items(), 1):
        show(lower.add_subplot(1, len(KERNELS), place), kernel, label, cmap='gray')
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.output, dpi=80, pil_kwargs={'optimize': True})
    print(f'{arguments.output}: {arguments.output.stat().st_size / 1000:.0f} kB')


def sample_of(image: Path, seed: int) -> dict[str, torch.Tensor]:
    """The first sample of a data set of this one image."""
    with tempfile.TemporaryDirectory() as folder:
        save_image(Path(folder, 'image.png'), read_image(image))
        block = {
            'type': 'RealESRGANDataset',
            'dataroot_gt': folder,
            'gt_size': 256,
            'use_flip': False,
            'use_rot': False,
        }
        return build_dataset(block, scale=4, seed=seed)[0]


def show(axes: plt.Axes, image: object, label: str, **how: str) -> None:
    axes.imshow(image, interpolation='nearest', **how)
    axes.set_title(label, fontsize=8)
    axes.axis('off')


if __name__ == '__main__':
    main()
