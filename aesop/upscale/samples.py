"""Several solutions of each image, by a network that draws them: with references, and from a seed."""

import logging
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from aesop.data.datasets.references import References
from aesop.errors import UserError
from aesop.models.precision import Runtime, hold
from aesop.upscale.folder import Job, Outcome
from aesop.upscale.photo import read_photo, write_photo
from aesop.utils.images import to_tensor

SIDE = 256  # of references, as in training
_STREAM = 3  # of random numbers: 2 chooses references

logger = logging.getLogger(__name__)


def draws_solutions(net: nn.Module) -> bool:
    """Whether a network has more than one solution for an image."""
    return hasattr(net, 'noise_shape')


def sample_name(target: Path, k: int) -> Path:
    """name.png -> name_sample00003.png, as the challenge on the SR space names its files."""
    return target.with_name(f'{target.stem}_sample{k:05}{target.suffix}')


class Sampler:
    """Solutions of a network, by number; solution k of image n is the same whatever else is asked for.

    Args:
        net: takes `lq` and, as its class says, `ref` and `noise`.
        references: None: the image is its own reference.
        seed: None: the noise is left out, which is the network's mean solution.
    """

    def __init__(self, net: nn.Module, runtime: Runtime, references: References | None, seed: int | None) -> None:
        self.scale = net.scale
        self._net, self._runtime = runtime.prepare(net), runtime
        hold(self._net, runtime.dtype)
        self._takes, self._noise_shape = net.takes, net.noise_shape
        self._references, self._seed = references, seed
        if references and 'ref' not in net.takes:
            raise UserError(f'{type(net).__name__} takes no reference: leave --ref away')

    @torch.inference_mode()
    def __call__(self, lq: Tensor, n: int, k: int) -> Tensor:
        """(3, h, w) -> (3, scale * h, scale * w) on the CPU: solution k of image n."""
        entries = {'lq': lq[None], 'ref': None, 'noise': None}
        if self._references:
            entries['ref'] = to_tensor(self._references.read(self._references.path(n, k)))[None]
        if self._seed is not None:
            rng = np.random.default_rng((self._seed, n, _STREAM, k))
            entries['noise'] = torch.from_numpy(rng.standard_normal((1, *self._noise_shape), dtype=np.float32))
        self._runtime.begin_step()
        inputs = (entries[name] for name in self._takes)
        output = self._net(*(x if x is None else self._runtime.lay_out(x) for x in inputs))
        return (output['sr'] if isinstance(output, dict) else output)[0].float().cpu()


def run(sampler: Sampler, jobs: list[Job], outcome: Outcome, quality: int, samples: int, overwrite: bool) -> None:
    """Writes `samples` solutions of each image; what becomes of each image is added to `outcome`."""
    for job in tqdm(jobs, unit='image', disable=None):
        n = zlib.crc32(job.target.stem.encode())  # of the name alone, whatever else is done
        targets = [job.target if samples == 1 else sample_name(job.target, k) for k in range(samples)]
        missing = [k for k, target in enumerate(targets) if overwrite or not target.exists()]
        if not missing:
            outcome.skipped += 1
            continue
        try:
            photo = read_photo(job.source)
            for k in missing:
                write_photo(targets[k], photo, sampler(photo.image, n, k), quality)
            outcome.done += 1
        except UserError as error:
            outcome.problems += error.problems
        except OSError as error:
            outcome.problems.append(f'{job.source}: its results could not be written ({error.strerror})')
