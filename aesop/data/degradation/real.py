"""The two-stage degradation of real-world super-resolution, on batches and on the device.

Real-ESRGAN (Wang et al., ICCVW 2021), Sec. 3: blur, resize, noise and JPEG, twice; a sinc filter beside the last JPEG.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from aesop.data.degradation.blur import blur, usm_sharpen
from aesop.data.degradation.jpeg import jpeg
from aesop.data.degradation.noise import gaussian_noise, poisson_noise
from aesop.data.degradation.pool import PairPool, Pairs
from aesop.errors import UserError
from aesop.options import Options
from aesop.utils.images import quantise

_MODES = ('area', 'bilinear', 'bicubic')


class Stage(NamedTuple):
    """The ranges of one of the two rounds, by the names of their keys in the options."""

    resize_prob: Sequence[float]
    resize_range: Sequence[float]
    gaussian_noise_prob: float
    noise_range: Sequence[float]
    poisson_scale_range: Sequence[float]
    gray_noise_prob: float
    jpeg_range: Sequence[float]


@dataclass(kw_only=True, eq=False)
class RealDegradation:
    """Turns ground truths and kernels, a batch of `RealESRGANDataset`, into training pairs.

    As published, some choices are made once per batch: whether there is a second blur, resize factor and mode, kind of
    noise, order of the last steps, and position of the crop. Strength and colour of the noise and JPEG quality are
    drawn for every sample. All choices are seeded by the samples' `seed`s, so a batch depends only on its samples and
    on the pool; the noise itself differs between types of device.

    Args:
        scale: ground-truth pixels per low-resolution pixel.
        device: device of the computation.
        gt_size: side of the ground-truth patch that is cropped from the result.
        queue_size: pairs in the pool.
        gt_usm: degrade the sharpened ground truth.
        resize_prob: probabilities of resizing up, down and not at all; the factor lies between 1 and the limit in
            `resize_range`, relative to the ground truth (second stage: to the low-resolution size).
        gaussian_noise_prob: probability of Gaussian noise (`noise_range`: sigma, of 255) instead of Poisson noise
            (`poisson_scale_range`).
        gray_noise_prob: probability that the noise is gray.
        jpeg_range: lowest and highest JPEG quality.
        second_blur_prob: probability of the second blur.
        resize_prob2, ...: the same for the second stage.

    Raises:
        UserError: a range does not match its probabilities.
    """

    scale: int = 4
    device: torch.device | str = 'cpu'
    gt_size: int = 256
    queue_size: int = 180
    gt_usm: bool = True
    resize_prob: Sequence[float] = (0.2, 0.7, 0.1)
    resize_range: Sequence[float] = (0.15, 1.5)
    gaussian_noise_prob: float = 0.5
    noise_range: Sequence[float] = (1, 30)
    poisson_scale_range: Sequence[float] = (0.05, 3)
    gray_noise_prob: float = 0.4
    jpeg_range: Sequence[float] = (30, 95)
    second_blur_prob: float = 0.8
    resize_prob2: Sequence[float] = (0.3, 0.4, 0.3)
    resize_range2: Sequence[float] = (0.3, 1.2)
    gaussian_noise_prob2: float = 0.5
    noise_range2: Sequence[float] = (1, 25)
    poisson_scale_range2: Sequence[float] = (0.05, 2.5)
    gray_noise_prob2: float = 0.4
    jpeg_range2: Sequence[float] = (30, 95)

    def __post_init__(self) -> None:
        self._first, self._second = (
            Stage(*(getattr(self, f'{key}{number}') for key in Stage._fields)) for number in ('', '2')
        )
        problems = []
        for number, stage in (('', self._first), ('2', self._second)):
            (up, down, _), (low, high) = stage.resize_prob, stage.resize_range
            if sum(stage.resize_prob) <= 0:
                problems.append(f'resize_prob{number} is all zero; set at least one of up, down and keep above 0')
            if low <= 0 or (up and high < 1) or (down and low > 1):
                problems.append(f'resize_range{number} is [{low}, {high}]; set it to [low, high], 0 < low < 1 < high')
            if not 1 <= stage.jpeg_range[0] <= stage.jpeg_range[1] <= 100:
                problems.append(f'jpeg_range{number} is {list(stage.jpeg_range)}; qualities are from 1 to 100')
        if self.gt_size % self.scale:
            problems.append(f'gt_size {self.gt_size} is not a multiple of scale {self.scale}; make it one')
        if problems:
            raise UserError(problems)
        self._pool = PairPool(self.queue_size)

    @torch.no_grad()
    def __call__(self, batch: dict[str, Any]) -> Pairs:
        """Degrades a batch and exchanges the pairs with the pool.

        Args:
            batch: `gt` (N, 3, H, W) RGB in [0, 1], `kernel1`, `kernel2`, `sinc_kernel` (N, k, k), and `seed` (N,)
                integers on the CPU.

        Returns:
            `lq` (N, 3, gt_size / scale, gt_size / scale) in steps of 1/255, `gt` and the sharpened `gt_usm`
            (N, 3, gt_size, gt_size), in [0, 1], on the device.

        Raises:
            UserError: the ground truths are smaller than `gt_size`, or the pool than the batch.
        """
        if min(batch['gt'].shape[-2:]) < self.gt_size:
            height, width = batch['gt'].shape[-2:]
            raise UserError(f'gt_size {self.gt_size} does not fit into {height}x{width}; lower it or raise crop_size')
        draw = Draw(batch['seed'].tolist(), self.device)
        names = ('gt', 'kernel1', 'kernel2', 'sinc_kernel')
        gt, kernel1, kernel2, sinc_kernel = (batch[name].to(self.device, non_blocking=True) for name in names)
        ((_, lq),) = deque(self.stages(gt, kernel1, kernel2, sinc_kernel, draw), maxlen=1)
        side = self.gt_size // self.scale
        top, left = (int(draw.rng.integers(length - side + 1)) for length in lq.shape[-2:])
        lq = lq[..., top : top + side, left : left + side]
        top, left = top * self.scale, left * self.scale
        gt = gt[..., top : top + self.gt_size, left : left + self.gt_size]
        pairs = self._pool.exchange({'lq': lq.contiguous(), 'gt': gt.contiguous()}, draw.rng)
        return {**pairs, 'gt_usm': usm_sharpen(pairs['gt'])}

    def stages(
        self, gt: Tensor, kernel1: Tensor, kernel2: Tensor, sinc_kernel: Tensor, draw: 'Draw'
    ) -> Iterator[tuple[str, Tensor]]:
        """Yields (name of the step, images after it); the last is the low-resolution batch before the crop."""
        size = tuple(side // self.scale for side in gt.shape[-2:])
        images = gt
        if self.gt_usm:
            images = usm_sharpen(gt)
            yield 'sharpened', images
        images = blur(images, kernel1)
        yield 'blur', images
        images = yield from _resized_and_noisy(images, gt.shape[-2:], self._first, draw)
        images = yield from _compressed(images, self._first, draw)
        if draw.happens(self.second_blur_prob):
            images = blur(images, kernel2)
            yield 'second blur', images
        images = yield from _resized_and_noisy(images, size, self._second, draw)
        compressed_first = draw.happens(0.5)
        if compressed_first:
            images = yield from _compressed(images, self._second, draw)
        mode = draw.mode()
        images = blur(F.interpolate(images, size, mode=mode), sinc_kernel)
        yield f'resize to 1/{self.scale}, {mode}, and sinc', images
        if not compressed_first:
            images = yield from _compressed(images, self._second, draw)
        yield 'low resolution, 8 bits', quantise(images)

    def state_dict(self) -> Pairs:
        """State of the pool."""
        return self._pool.state_dict()

    def load_state_dict(self, state: Pairs) -> None:
        """Restores a state of `state_dict`.

        Raises:
            UserError: its patches have another size.
        """
        sizes = {name: tuple(images.shape[1:]) for name, images in state.items()}
        lq, gt = ((3, side, side) for side in (self.gt_size // self.scale, self.gt_size))
        if sizes not in ({}, {'lq': lq, 'gt': gt}):
            raise UserError(f'the state holds pairs of {sizes}, not of gt_size {self.gt_size}: it is from another run')
        self._pool.load_state_dict(state)


def build_degradation(options: Options, device: torch.device | str) -> RealDegradation:
    """Builds the degradation from the top level of the options; the defaults are those of Real-ESRGAN."""
    given = {field.name: getattr(options, field.name, None) for field in fields(RealDegradation)}
    return RealDegradation(**{key: value for key, value in given.items() if value is not None}, device=device)


class Draw:
    """Random choices for one batch, seeded by the seeds of its samples."""

    def __init__(self, seeds: list[int], device: torch.device | str) -> None:
        self.rng = np.random.default_rng(seeds)
        self.noise = torch.Generator(device).manual_seed(int(self.rng.integers(2**63)))
        self._count = len(seeds)

    def happens(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def factor(self, probabilities: Sequence[float], limits: Sequence[float]) -> float:
        """Resize factor: up, down or 1."""
        weights = np.asarray(probabilities, dtype=float)
        low, high = ((1, limits[1]), (limits[0], 1), (1, 1))[self.rng.choice(3, p=weights / weights.sum())]
        return self.rng.uniform(low, high)

    def mode(self) -> str:
        return _MODES[self.rng.integers(len(_MODES))]

    def uniform(self, limits: Sequence[float]) -> Tensor:
        """One number in the range per sample, (N,) on the device."""
        return torch.from_numpy(self.rng.uniform(limits[0], limits[1], self._count)).float().to(self.noise.device)

    def flags(self, probability: float) -> Tensor:
        """True with this probability for each sample, (N,) bool on the device."""
        return torch.from_numpy(self.rng.random(self._count) < probability).to(self.noise.device)


_Steps = Iterator[tuple[str, Tensor]]


def _resized_and_noisy(images: Tensor, size: Sequence[int], stage: Stage, draw: Draw) -> _Steps:
    """Resizes the batch to a random factor of `size` (height, width) and adds noise; yields steps, returns the last."""
    factor, mode = draw.factor(stage.resize_prob, stage.resize_range), draw.mode()
    images = F.interpolate(images, [max(1, int(side * factor)) for side in size], mode=mode)
    yield f'resize x{factor:.2f}, {mode}', images
    gaussian = draw.happens(stage.gaussian_noise_prob)
    strength = draw.uniform(stage.noise_range if gaussian else stage.poisson_scale_range)
    gray = draw.flags(stage.gray_noise_prob)
    images = (gaussian_noise if gaussian else poisson_noise)(images, strength, gray, draw.noise)
    yield f'{"Gaussian" if gaussian else "Poisson"} noise', images
    return images


def _compressed(images: Tensor, stage: Stage, draw: Draw) -> _Steps:
    images = jpeg(images, draw.uniform(stage.jpeg_range))
    yield 'JPEG', images
    return images
