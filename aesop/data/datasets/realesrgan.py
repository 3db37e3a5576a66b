"""Ground truths and blur kernels, the input of the degradation on the device (`RealDegradation`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aesop.data.datasets.crops import CropDataset
from aesop.data.datasets.transforms import Window, augment, random_window
from aesop.data.degradation.kernels import KINDS, SMALLEST, random_kernel, random_sinc
from aesop.data.storage.source import Size
from aesop.errors import UserError
from aesop.registry import DATASETS, did_you_mean

_PROBABILITIES = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)


@DATASETS.register()
@dataclass(kw_only=True, eq=False, repr=False)
class RealESRGANDataset(CropDataset):
    """Training crops of ground truths, with the random kernels of the two-stage degradation of Real-ESRGAN.

    `dataset[n]`, for any n >= 0, depends only on (seed, n): `gt` (3, crop_size, crop_size) RGB in [0, 1], `kernel1`
    and `kernel2` (blurs of the two stages) and `sinc_kernel` (last filter), each (k, k) float32 of sum 1, `seed` (an
    integer for the random choices on the device), `name` and `index`. Smaller images are padded by reflection at the
    bottom and right.

    Args:
        dataroot_gt: folder.
        gt_size: side of the training patch that is cropped from the degraded image, at most `crop_size`.
        crop_size: side of the crop that is degraded; a multiple of `scale`.
        blur_kernel_size: side of `kernel1` and `sinc_kernel`; smaller ones, of odd sides from 7, are zero-padded.
        kernel_list, kernel_prob: kinds of blur and their probabilities: iso, aniso, generalized_iso,
            generalized_aniso, plateau_iso, plateau_aniso.
        sinc_prob: probability of a sinc kernel instead.
        blur_sigma: lowest and highest standard deviation, pixels.
        betag_range, betap_range: lowest and highest shape of the generalised Gaussian and the plateau kinds.
        blur_kernel_size2, ...: the same for the second stage.
        final_sinc_prob: probability that `sinc_kernel` is a sinc and not the identity.

    Raises:
        UserError: the options of the kernels do not match, or `gt_size` is missing.
    """

    dataroot_gt: str
    crop_size: int = 400
    blur_kernel_size: int = 21
    kernel_list: Sequence[str] = KINDS
    kernel_prob: Sequence[float] = _PROBABILITIES
    sinc_prob: float = 0.1
    blur_sigma: Sequence[float] = (0.2, 3)
    betag_range: Sequence[float] = (0.5, 4)
    betap_range: Sequence[float] = (1, 2)
    blur_kernel_size2: int = 21
    kernel_list2: Sequence[str] = KINDS
    kernel_prob2: Sequence[float] = _PROBABILITIES
    sinc_prob2: float = 0.1
    blur_sigma2: Sequence[float] = (0.2, 1.5)
    betag_range2: Sequence[float] = (0.5, 4)
    betap_range2: Sequence[float] = (1, 2)
    final_sinc_prob: float = 0.8

    def __post_init__(self) -> None:
        problems = [*self._kernel_problems(''), *self._kernel_problems('2')]
        if self.gt_size is None:
            problems.append('gt_size is missing; set the side of the training patch, e.g. 256')
        elif self.gt_size > self.crop_size:
            problems.append(f'gt_size {self.gt_size} is larger than crop_size {self.crop_size}; lower it')
        if self.crop_size % self.scale:
            problems.append(f'crop_size {self.crop_size} is not a multiple of scale {self.scale}; make it one')
        if self.mean is not None or self.std is not None or self.color != 'rgb':
            problems.append('the degradation works on RGB in [0, 1]; remove mean, std and color')
        if problems:
            raise UserError([f'{self}: {problem}' for problem in problems])
        super().__post_init__()

    def _kernel_problems(self, stage: str) -> list[str]:
        kinds, probabilities = getattr(self, f'kernel_list{stage}'), getattr(self, f'kernel_prob{stage}')
        size = getattr(self, f'blur_kernel_size{stage}')
        problems = [
            f'kernel_list{stage}: unknown kernel "{kind}".{did_you_mean(str(kind), list(KINDS))}'
            for kind in kinds
            if kind not in KINDS
        ]
        if len(kinds) != len(probabilities) or min(probabilities, default=0) < 0 or sum(probabilities) <= 0:
            problems.append(f'kernel_prob{stage} must have one probability for each kind in kernel_list{stage}')
        if size < SMALLEST or size % 2 == 0:
            problems.append(f'blur_kernel_size{stage} is {size}; set it to an odd number of at least {SMALLEST}')
        for key in ('blur_sigma', 'betag_range', 'betap_range'):
            values = getattr(self, key + stage)
            if len(values) != 2 or not 0 < values[0] <= values[1]:
                problems.append(f'{key}{stage} is {list(values)}; set it to [low, high], both above 0')
        return problems

    def _problem(self, item: tuple[Path, ...], sizes: list[Size]) -> str | None:
        return None  # small images are padded

    def _cut(self, images: list[np.ndarray], window: Window) -> tuple[np.ndarray, ...]:
        return (self._part(images[0], window),)

    def _crop(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        gt = self._read(self.items[index][0])
        if min(gt.shape[:2]) < self.crop_size:
            padding = [(0, max(0, self.crop_size - side)) for side in gt.shape[:2]]
            gt = np.pad(gt, [*padding, (0, 0)], mode='reflect')
        height, width = gt.shape[:2]
        window = random_window(height, width, self.crop_size, rng)
        (gt,) = augment([*self._cut([gt], window)], self.use_flip and self.use_hflip, self.use_rot, rng)
        return {
            'gt': gt,
            'kernel1': self._kernel('', rng),
            'kernel2': self._kernel('2', rng),
            'sinc_kernel': _tensor(random_sinc(rng, self.blur_kernel_size, self.final_sinc_prob)),
            'seed': int(rng.integers(2**63)),
            'name': self.names[index],
            'index': index,
        }

    def _kernel(self, stage: str, rng: np.random.Generator) -> torch.Tensor:
        keys = ('blur_kernel_size', 'kernel_list', 'kernel_prob', 'sinc_prob')
        keys += ('blur_sigma', 'betag_range', 'betap_range')
        return _tensor(random_kernel(rng, *(getattr(self, key + stage) for key in keys)))


def _tensor(kernel: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(kernel).float()
