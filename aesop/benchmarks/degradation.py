"""Degraded pairs per second, as in the published code and as implemented here, with the same random choices.

`plain` uses the steps of the published code: sharpening with a 51x51 kernel, blurs as direct convolutions with one
kernel per channel, and Poisson noise drawn for all images both in colour and in grey. Resizing, Gaussian noise, JPEG
and the pool are the same code in both. Both get the same batches.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from aesop.benchmarks import measure
from aesop.benchmarks.measure import Row, Table, interleave
from aesop.benchmarks.step import photographs
from aesop.data.degradation import blur as blur_module
from aesop.data.degradation import noise, real
from aesop.data.degradation.kernels import KINDS, random_kernel, random_sinc

PROBABILITIES = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--crop', type=int, default=400, help='side of what is degraded')
    parser.add_argument('--gt_size', type=int, default=256)
    parser.add_argument('--batches', type=int, default=8, help='different ones in a round')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--threads', type=int, help='of PyTorch')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')


def run(args: argparse.Namespace) -> None:
    if args.threads:
        torch.set_num_threads(args.threads)
    batches = [batch(number, args.batch, args.crop) for number in range(args.batches)]
    difference = largest_difference(batches, args)

    def go(variant: str) -> None:
        degradation = real.RealDegradation(gt_size=args.gt_size, device=args.device)
        with plain() if variant == 'plain' else nullcontext():
            for each in batches:
                degradation(each)

    timings = interleave({name: lambda name=name: go(name) for name in ('plain', 'ours')}, args.rounds, 1, args.device)
    rows: list[Row] = []
    for name, timing in timings.items():
        rows.append(
            {
                'variant': name,
                'pairs/s': args.batch * args.batches / timing.median,
                '+-': timing.spread,
                'speed / plain': timings['plain'].median / timing.median,
                'difference': 0.0 if name == 'plain' else difference,
            }
        )
    about = measure.environment(args.device) | {'batch': args.batch, 'crop': args.crop, 'gt_size': args.gt_size}
    title, text = measure.title_and_text(__doc__)
    table = Table('Variants', rows, TEXT)
    measure.write(args.output, 'degradation', args.command, about, title, text, [table])


TEXT = (
    'Pairs a second: median, and half the distance between the quartiles as a share of it. `difference` is the largest '
    'between sharpened and blurred images of the two, in steps of 8 bits, before quantisation makes one of it.'
)


def batch(number: int, count: int, crop: int) -> dict[str, Tensor]:
    """What `RealESRGANDataset` gives, at its default options."""
    rng = np.random.default_rng(number)

    def kernels() -> Tensor:
        made = [random_kernel(rng, 21, KINDS, PROBABILITIES, 0.1, (0.2, 3), (0.5, 4), (1, 2)) for _ in range(count)]
        return torch.from_numpy(np.stack(made)).float()

    return {
        'gt': photographs(1, count, crop, 4)[0]['gt'],
        'kernel1': kernels(),
        'kernel2': kernels(),
        'sinc_kernel': torch.from_numpy(np.stack([random_sinc(rng, 21, 0.8) for _ in range(count)])).float(),
        'seed': torch.from_numpy(rng.integers(0, 2**62, count)),
    }


@contextmanager
def plain() -> Iterator[None]:
    """Inside, degradations take the published steps."""
    published = {'blur': direct_blur, 'usm_sharpen': wide_sharpening, 'poisson_noise': noise_for_all}
    ours = {name: getattr(real, name) for name in published}
    try:
        for name, function in published.items():
            setattr(real, name, function)
        yield
    finally:
        for name, function in ours.items():
            setattr(real, name, function)


def direct_blur(images: Tensor, kernels: Tensor) -> Tensor:
    """A group for each colour of each image, and a kernel for each group."""
    n, c, _, _ = images.shape
    down, across = (side // 2 for side in kernels.shape[1:])
    mode = 'reflect' if images.shape[-2] > down and images.shape[-1] > across else 'replicate'
    padded = F.pad(images, (across, across, down, down), mode=mode)
    weights = kernels.repeat_interleave(c, 0)[:, None]
    return F.conv2d(padded.flatten(0, 1)[None], weights, groups=n * c).view_as(images)


def wide_sharpening(images: Tensor) -> Tensor:
    offset = np.arange(51) - 25
    gaussian = np.exp(-0.5 * (offset / 8.0) ** 2)
    kernel = torch.from_numpy(np.outer(gaussian, gaussian) / gaussian.sum() ** 2).to(images)
    smooth: Callable[[Tensor], Tensor] = lambda x: direct_blur(x, kernel.expand(len(x), -1, -1))  # noqa: E731
    detail = images - smooth(images)
    mask = smooth((255 * detail.abs() > 10).to(images))
    return mask * (images + 0.5 * detail).clamp(0, 1) + (1 - mask) * images


def noise_for_all(images: Tensor, scale: Tensor, gray: Tensor, generator: torch.Generator) -> Tensor:
    luma = (images * images.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    in_colour, in_grey = noise._shot_noise(images, generator), noise._shot_noise(luma, generator)
    each = gray.view(-1, 1, 1, 1).float()
    return (images + (each * in_grey + (1 - each) * in_colour) * scale.view(-1, 1, 1, 1)).clamp(0, 1)


def largest_difference(batches: list[dict[str, Tensor]], args: argparse.Namespace) -> float:
    """Between the forms of sharpening and blurring, in steps of 8 bits."""
    largest = 0.0
    for each in batches[:2]:
        gt, kernels = each['gt'].to(args.device), each['kernel1'].to(args.device)
        pairs = (
            (blur_module.usm_sharpen(gt), wide_sharpening(gt)),
            (blur_module.blur(gt, kernels), direct_blur(gt, kernels)),
        )
        largest = max(largest, *(255 * (a - b).abs().max().item() for a, b in pairs))
    return largest
