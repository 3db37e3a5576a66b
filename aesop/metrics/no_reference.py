"""Metrics by pyiqa (`pip install "aesop-sr[iqa]"`): NIQE, MANIQA, MUSIQ and CLIP-IQA without ground truth, and any."""

import contextlib
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from aesop.errors import Unavailable, UserError
from aesop.metrics.metric import Metric, weights_sha256
from aesop.registry import METRICS


def pyiqa_network(name: str) -> nn.Module:
    """pyiqa's metric `name` with the package's own weights, from AESOP_WEIGHTS/pyiqa where there is that folder.

    Raises:
        Unavailable: the package is not installed, or its weights cannot be had.
    """
    with _pyiqa_folder(), contextlib.redirect_stdout(sys.stderr):  # the package prints what it loads
        try:
            import pyiqa
        except ImportError as error:
            raise Unavailable(
                f'the package pyiqa cannot be used ({error}): pip install "aesop-sr[iqa]"; its licence is for '
                'non-commercial use'
            ) from error
        try:
            return pyiqa.create_metric(name, device='cpu').requires_grad_(False).eval()
        except (OSError, RuntimeError) as error:  # no network, no space; a damaged file
            reason = str(error).split('\n')[0]
            raise Unavailable(
                f'the weights that pyiqa has for {name} could not be had ({type(error).__name__}: {reason}): run once '
                'on a machine with internet access and take the folder named pyiqa (and clip) of its torch.hub cache '
                'into AESOP_WEIGHTS (maniqa takes its ViT from the cache of Hugging Face, HF_HOME)'
            ) from error


@contextlib.contextmanager
def _pyiqa_folder() -> Any:
    """AESOP_WEIGHTS in place of torch.hub's folder, where it holds a folder named pyiqa."""
    weights, before = os.environ.get('AESOP_WEIGHTS'), torch.hub.get_dir()
    if weights and Path(weights, 'pyiqa').is_dir():
        torch.hub.set_dir(weights)
    try:
        yield
    finally:
        torch.hub.set_dir(before)


def unregistered(network: nn.Module) -> dict[str, Tensor]:
    """Tensors that pyiqa's network keeps as plain attributes (NIQE), or in modules in a list (CLIP-IQA)."""
    found = {}
    for name, value in vars(getattr(network, 'net', network)).items():
        if isinstance(value, Tensor):
            found[name] = value
        for module in value if isinstance(value, list) else ():
            if isinstance(module, nn.Module):
                found |= {f'{name}.{key}': tensor for key, tensor in module.state_dict().items()}
    return found


class NoReference(Metric):
    """A metric of pyiqa; the classes below say which.

    Args:
        quadrants: the mean over the four quarters of an image, as the paper measures CLIP-IQA on DRealSR.
        test_y_channel: accepted because published option files carry it; the colour is each metric's own.
        crop_border, input_order, better: see `Metric`.
    """

    model: str  # the package's name
    colour = 'RGB'
    takes_y = False

    def __init__(
        self,
        quadrants: bool = False,
        crop_border: int = 0,
        test_y_channel: bool = False,
        input_order: str = 'HWC',
        better: Literal['higher', 'lower'] | None = None,
    ) -> None:
        super().__init__(crop_border, test_y_channel, input_order, better)
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
    least_side = 192  # a covariance takes more than one block


@METRICS.register('calculate_maniqa_pytorch')
class MANIQA(NoReference):
    """Quality as a transformer learnt it from opinions, on KonIQ-10k (Yang et al., CVPRW 2022)."""

    model = 'maniqa'
    value_range = '0 to 1'
    how = 'on RGB, trained on KonIQ-10k, mean over 20 crops of 224x224 at fixed places, by pyiqa'


@METRICS.register('calculate_musiq_pytorch')
class MUSIQ(NoReference):
    """Quality as a multi-scale transformer learnt it from opinions, on KonIQ-10k (Ke et al., ICCV 2021)."""

    model = 'musiq'
    value_range = '0 to 100'
    how = 'on RGB at several scales, trained on KonIQ-10k, by pyiqa'


@METRICS.register('calculate_clipiqa_resnet_pytorch')
class CLIPIQA(NoReference):
    """How much nearer the image is to "Good photo." than to "Bad photo." in CLIP, RN50 (Wang et al., AAAI 2023)."""

    model = 'clipiqa'
    value_range = '0 to 1'
    how = 'on RGB, CLIP with ResNet-50, by pyiqa'


@METRICS.register()
class PyIQA(Metric):
    """Any metric of pyiqa by its name there, e.g. `{type: PyIQA, metric: topiq_nr}`.

    Args:
        metric: what `pyiqa.list_models()` calls it; those with a reference (FR) compare with gt; those of sets
            (fid, ...) are refused.
        crop_border, test_y_channel, input_order: see `Metric`; the colour is each metric's own.
        better: its own direction, unless this says otherwise.
    """

    takes_y = False
    value_range = "the metric's own"
    how = "as pyiqa's `metric` measures it, on RGB"

    def __init__(
        self,
        metric: str,
        crop_border: int = 0,
        test_y_channel: bool = False,
        input_order: str = 'HWC',
        better: Literal['higher', 'lower'] | None = None,
    ) -> None:
        super().__init__(crop_border, test_y_channel, input_order, better)
        try:
            self.network = pyiqa_network(metric)
        except (KeyError, AssertionError, ValueError) as error:
            raise UserError(f'PyIQA: pyiqa has no metric "{metric}" ({error}); see pyiqa.list_models()') from error
        mode = str(self.network.metric_mode)
        if mode not in ('FR', 'NR') or metric.startswith(('fid', 'inception_score')):
            raise UserError(f'PyIQA: {metric} measures sets of images, not one; use {{type: FID}}')
        if mode == 'FR':
            self.needs, self.needs_gt = ('sr', 'gt'), True
        if better is None:
            self.higher_is_better = not self.network.lower_better
        self.details = {
            'weights_sha256': weights_sha256(self.network, **unregistered(self.network)),
            'package': f'pyiqa {version("pyiqa")}, {metric}',
            'reference': 'gt' if self.needs_gt else 'none',
        }

    def score(self, sr: Tensor, *reference: Tensor) -> Tensor:
        try:
            return self.network(*self.prepare_rgb(sr, *reference)).flatten()
        except (AssertionError, ValueError, IndexError) as error:
            raise UserError(f'PyIQA could not measure the image: {error}') from error
