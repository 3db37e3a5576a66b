"""Several solutions of each image, for networks that have them: from references and seeded noise."""

import logging
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from aesop.data.datasets.references import References
from aesop.errors import UserError
from aesop.models.precision import Precision, cast_frozen
from aesop.upscale.folder import Job, Outcome
from aesop.upscale.photo import levels, read_photo, write_photo
from aesop.utils.images import to_tensor

SIDE = 256  # of references, as in training

logger = logging.getLogger(__name__)


def several(net: nn.Module, ref: Path | None, samples: int, seed: int | None) -> bool:
    """Whether this network is run by `Sampler`.

    Raises:
        UserError: solutions or references are requested, but the network has a single solution.
    """
    if hasattr(net, 'noise_shape'):
        return True
    for flag, given in (('--ref', ref), ('--samples', samples > 1), ('--seed', seed is not None)):
        if given:
            raise UserError(f'{flag}: {type(net).__name__} has one solution per image; remove {flag}')
    return False


class Sampler:
    """Solutions of a network by number; solution k of an image depends on the seed and the image's name.

    Args:
        net: takes `lq` and, if listed in its `inputs`, `ref` and `noise`.
        ref: a reference image or a folder of them; None: the image is its own reference.
        samples: solutions of each image.
        seed: seed of references and noise; None: 0 for several solutions; a single one is the mean, without noise.
    """

    def __init__(self, net: Any, runtime: Precision, ref: Path | None, samples: int, seed: int | None) -> None:
        if ref is not None and 'ref' not in net.inputs:
            raise UserError(f'--ref: {type(net).__name__} takes no reference; remove --ref')
        if ref is not None and not ref.exists():
            raise UserError(f'--ref: file or folder {ref} not found')
        self.samples, self._seed = samples, seed or 0
        self._draws = samples > 1 or seed is not None
        self._references = None if ref is None else References(ref, SIDE, self._seed)
        if self._references and (problems := self._references.problems()):
            raise UserError([f'--ref: {problem}' for problem in problems])
        self._net: Any = runtime.prepare(net)
        self._runtime = runtime
        cast_frozen(self._net, runtime.dtype)

    @torch.inference_mode()
    def __call__(self, lq: Tensor, n: int, k: int) -> Tensor:
        """(3, h, w) -> (3, scale * h, scale * w) on the CPU: solution k of image number n."""
        inputs = {'lq': lq}
        if self._references:
            inputs['ref'] = to_tensor(self._references.read(self._references.path(n, k)))
        if self._draws:
            rng = np.random.default_rng((self._seed, n, k))
            inputs['noise'] = torch.from_numpy(rng.standard_normal(self._net.noise_shape)).float()
        self._runtime.begin_step()
        given = {name: self._runtime.to_device(inputs[name][None]) for name in self._net.inputs if name in inputs}
        output = self._runtime.call(self._net, **given)
        return (output['sr'] if isinstance(output, dict) else output)[0].float().cpu()


def sample_name(target: Path, k: int) -> Path:
    """name.png -> name_sample00003.png, the file names of the NTIRE challenge on the SR space."""
    return target.with_name(f'{target.stem}_sample{k:05}{target.suffix}')


def run(sampler: Sampler, jobs: list[Job], outcome: Outcome, quality: int, overwrite: bool) -> None:
    """Writes the solutions of each image and adds the result of each image to `outcome`."""
    for job in tqdm(jobs, unit='image', disable=None):
        n = zlib.crc32(job.target.stem.encode())  # from the name only, so that other images do not change it
        count = sampler.samples
        targets = [job.target if count == 1 else sample_name(job.target, k) for k in range(count)]
        missing = [k for k, target in enumerate(targets) if overwrite or not target.exists()]
        if not missing:
            outcome.skipped += 1
            continue
        try:
            photo = read_photo(job.source)
            for k in missing:
                pixels = levels(sampler(photo.image(), n, k), photo, targets[k].suffix).permute(1, 2, 0)
                write_photo(targets[k], photo, pixels.contiguous().cpu().numpy(), quality)
            outcome.done += 1
        except UserError as error:
            outcome.problems += error.problems
        except OSError as error:
            outcome.problems.append(f'{job.source}: its results could not be written ({error.strerror})')
