"""Metrics of pyiqa (`pip install "aesop-sr[iqa]"`): NIQE, MANIQA, MUSIQ, CLIP-IQA, and any other by name."""

import contextlib
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aesop.errors import Unavailable, UserError
from aesop.metrics.metric import Metric, weights_sha256
from aesop.registry import METRICS


def pyiqa_network(name: str) -> nn.Module:
    """pyiqa's metric `name` with the package's own weights, from AESOP_WEIGHTS/pyiqa if that folder exists.

    Raises:
        Unavailable: the package is not installed, or its weights could not be loaded.
    """
    with _pyiqa_folder(), contextlib.redirect_stdout(sys.stderr):  # the package prints what it loads
        try:
            import pyiqa  # pyright: ignore[reportMissingImports]  (an extra)
        except ImportError as error:
            raise Unavailable(
                f'the package pyiqa could not be imported ({error}): pip install "aesop-sr[iqa]"; its licence covers '
                'non-commercial use only'
            ) from error
        try:
            return pyiqa.create_metric(name, device='cpu').requires_grad_(False).eval()
        except (OSError, RuntimeError) as error:  # no network, no space; a damaged file
            reason = str(error).split('\n')[0]
            raise Unavailable(
                f"pyiqa's weights for {name} could not be loaded ({type(error).__name__}: {reason}): run once on a "
                'machine with internet access and copy the folder pyiqa (and clip) of its torch.hub cache into '
                'AESOP_WEIGHTS (maniqa loads its ViT from the Hugging Face cache, HF_HOME)'
            ) from error


@contextlib.contextmanager
def _pyiqa_folder() -> Any:
    """Uses AESOP_WEIGHTS as torch.hub's folder if it contains a folder named pyiqa."""
    weights, before = os.environ.get('AESOP_WEIGHTS'), torch.hub.get_dir()
    if weights and Path(weights, 'pyiqa').is_dir():
        torch.hub.set_dir(weights)
    try:
        yield
    finally:
        torch.hub.set_dir(before)


def unregistered(network: nn.Module) -> dict[str, Tensor]:
    """Tensors that pyiqa's network stores as plain attributes (NIQE) or in a list of modules (CLIP-IQA)."""
    found = {}
    for name, value in vars(getattr(network, 'net', network)).items():
        if isinstance(value, Tensor):
            found[name] = value
        for module in value if isinstance(value, list) else ():
            if isinstance(module, nn.Module):
                found |= {f'{name}.{key}': tensor for key, tensor in module.state_dict().items()}
    return found


class NoReference(Metric):
    """Base class of the pyiqa metrics below.

    Args:
        quadrants: average over the four quadrants of an image, as the paper measures CLIP-IQA on DRealSR.
        common: arguments of `Metric`.
    """

    model: str  # the package's name
    colour = 'RGB'
    takes_y = False

    def __init__(
        self,
        quadrants: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.quadrants = quadrants
        self.network = pyiqa_network(self.model)
        self.details = {
            'colour': self.colour,
            'parts': 'mean over four quadrants' if quadrants else 'whole images',
            'weights_sha256': weights_sha256(self.network, **unregistered(self.network)),
            'package': f'pyiqa {version("pyiqa")}, {self.model}',
        }

    def score(self, sr: Tensor) -> Tensor:
        (sr,) = self.prepare_rgb(sr)
        parts = [part for half in sr.tensor_split(2, 2) for part in half.tensor_split(2, 3)] if self.quadrants else [sr]
        try:
            return torch.stack([self.network(part).flatten() for part in parts]).mean(0)
        except (AssertionError, ValueError, IndexError) as error:
            raise UserError(f'{type(self).__name__} could not measure the image: {error}') from error


@METRICS.register('calculate_niqe', 'calculate_niqe_pytorch')
class NIQE(NoReference):
    """Distance from the statistics of natural images (Mittal et al., SPL 2013)."""

    model = 'niqe'
    colour = 'Y (YIQ)'
    higher_is_better = False
    value_range = '0 and more'
    how = 'on luma (YIQ), blocks of 96x96, by pyiqa'
    min_side = 192  # a covariance needs more than one block


@METRICS.register('calculate_maniqa_pytorch')
class MANIQA(NoReference):
    """Quality predicted by a transformer trained on KonIQ-10k opinion scores (Yang et al., CVPRW 2022)."""

    model = 'maniqa'
    value_range = '0 to 1'
    how = 'on RGB, trained on KonIQ-10k, mean over 20 crops of 224x224 at fixed positions, by pyiqa'


@METRICS.register('calculate_musiq_pytorch')
class MUSIQ(NoReference):
    """Quality predicted by a multi-scale transformer trained on KonIQ-10k opinion scores (Ke et al., ICCV 2021)."""

    model = 'musiq'
    value_range = '0 to 100'
    how = 'on RGB at several scales, trained on KonIQ-10k, by pyiqa'


@METRICS.register('calculate_clipiqa_resnet_pytorch')
class CLIPIQA(NoReference):
    """How much closer the image is to "Good photo." than to "Bad photo." in CLIP, RN50 (Wang et al., AAAI 2023)."""

    model = 'clipiqa'
    value_range = '0 to 1'
    how = 'on RGB, CLIP with ResNet-50, by pyiqa'


@METRICS.register()
class PyIQA(Metric):
    """Any metric of pyiqa by its name there, e.g. `{type: PyIQA, metric: topiq_nr}`.

    Args:
        metric: name in `pyiqa.list_models()`; full-reference (FR) metrics compare with gt; metrics of image sets
            (fid, ...) are not supported.
        common: arguments of `Metric`.
    """

    takes_y = False
    value_range = "the metric's own"
    how = "as pyiqa's `metric` measures it, on RGB"

    def __init__(
        self,
        metric: str,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        try:
            self.network = pyiqa_network(metric)
        except (KeyError, AssertionError, ValueError) as error:
            raise UserError(f'PyIQA: pyiqa has no metric "{metric}" ({error}); see pyiqa.list_models()') from error
        mode = str(self.network.metric_mode)
        if mode not in ('FR', 'NR') or metric.startswith(('fid', 'inception_score')):
            raise UserError(f'PyIQA: {metric} measures sets of images, not single ones; use {{type: FID}}')
        if mode == 'FR':
            self.needs = ('sr', 'gt')
        if common.get('better') is None:
            self.higher_is_better = not self.network.lower_better
        self.details = {
            'weights_sha256': weights_sha256(self.network, **unregistered(self.network)),
            'package': f'pyiqa {version("pyiqa")}, {metric}',
            'reference': 'gt' if 'gt' in self.needs else 'none',
        }

    def score(self, sr: Tensor, *reference: Tensor) -> Tensor:
        try:
            return self.network(*self.prepare_rgb(sr, *reference)).flatten()
        except (AssertionError, ValueError, IndexError) as error:
            raise UserError(f'PyIQA could not measure the image: {error}') from error
