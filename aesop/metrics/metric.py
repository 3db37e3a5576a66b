"""The base class of all metrics: 8-bit quantisation, border crop, colour space, and a protocol that records them."""

import hashlib
import inspect
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from aesop.errors import UserError
from aesop.losses.pixel import choose
from aesop.utils.images import quantise, to_y

logger = logging.getLogger(__name__)


def weights_sha256(net: nn.Module, **others: Tensor) -> str:
    """Hash of the names and values of all tensors of `net` (and `others`), independent of the file format."""
    digest = hashlib.sha256()
    for name, tensor in sorted((net.state_dict() | others).items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


class Metric(nn.Module):
    """`metric(sr, gt, lq)` -> (N,) scores of N images; subclasses implement `score`.

    A metric of whole sets (`per_image` false) returns N tensors instead, the contributions of the images, from which
    `summary` computes the score of the set. Images may therefore be processed in any order and on any rank.

    Class attributes, from which docs/metrics.md is generated:
        higher_is_better: direction; `better` overrides it.
        value_range: its range, in words.
        needs: the quantities that it reads: the arguments of `score`. `samples`, (N, S, 3, H, W), are all solutions of
            an image; other metrics are computed for each solution.
        how: a one-line description of its protocol.
        per_image: whether each image has a score.
        takes_y: whether it can be measured on luma; the others use a fixed colour space.
        over: how the values of several solutions of an image are aggregated: 'mean', 'worst' or 'best'.
        min_side: minimum side of an image in pixels after the crop.

    Args:
        crop_border: pixels cropped on each side.
        test_y_channel: compare the BT.601 luma instead of RGB.
        input_order: accepted because published option files set it; images are always tensors here.
        better: 'higher' or 'lower', overrides the metric's own direction.
    """

    higher_is_better = True
    value_range = ''
    needs: tuple[str, ...] = ()
    how = ''
    per_image = True
    takes_y = True
    min_side = 1
    over: str = 'mean'
    # Scores (N,), or N contributions, of quantised float32 images (N, 3, H, W). Subclasses name what they read.
    score: Callable[..., Any]

    def __init__(
        self,
        crop_border: int = 0,
        test_y_channel: bool = False,
        input_order: str = 'HWC',
        better: Literal['higher', 'lower'] | None = None,
    ) -> None:
        super().__init__()
        self.crop_border = crop_border
        if test_y_channel and not self.takes_y:  # published option files set it regardless
            logger.warning('%s is never measured on luma: test_y_channel has no effect', type(self).__name__)
        self.test_y_channel = test_y_channel and self.takes_y
        if better is not None:
            self.higher_is_better = choose('better', better, {'higher': True, 'lower': False})
        self.details: dict[str, Any] = {}  # added to the protocol by subclasses

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, 'score'):
            arguments = list(inspect.signature(cls.score).parameters.values())[1:]
            cls.needs = tuple(a.name for a in arguments if a.kind is a.POSITIONAL_OR_KEYWORD)
        if '__init__' in vars(cls):  # replaces **common by the arguments that it stands for
            own = {p.name: p for p in list(inspect.signature(cls.__init__).parameters.values())[1:]}
            if any(p.kind is p.VAR_KEYWORD for p in own.values()):
                own = {name: p for name, p in own.items() if p.kind is not p.VAR_KEYWORD}
                inherited = inspect.signature(cls.__bases__[0]).parameters.items()
                own |= {name: p.replace(kind=p.KEYWORD_ONLY) for name, p in inherited if name not in own}
            cls.__signature__ = inspect.Signature(list(own.values()))

    @property
    def protocol(self) -> dict[str, Any]:
        """Everything that the score depends on besides the images, for result files."""
        return {
            'metric': type(self).__name__,
            'better': 'higher' if self.higher_is_better else 'lower',
            'colour': 'Y (BT.601)' if self.test_y_channel else 'RGB',
            'crop_border': self.crop_border,
            'quantisation': '8 bit',
            **self.details,
        }

    @torch.no_grad()
    def forward(
        self, sr: Tensor, gt: Tensor | None = None, lq: Tensor | None = None, **others: Tensor
    ) -> Tensor | list[Tensor]:
        """Scores (N,), or N contributions, of RGB images (N, 3, H, W) or (3, H, W), clamped to [0, 1].

        Single-channel images (`color: y`) are luma already. `others` are further quantities read by `score`.
        """
        given = {'sr': sr, 'gt': gt, 'lq': lq, **others}
        images = []
        for name in self.needs:
            if given.get(name) is None:
                raise UserError(
                    f'{type(self).__name__} needs {name} images, but this data set has none; remove the metric'
                )
            image = given[name].float()
            images.append(quantise(image if name == 'samples' else image.reshape(-1, *image.shape[-3:])))
        return self.score(*images)

    def summary(self, scores: Sequence[Any]) -> float:
        """The score of a set: by default the mean over its images."""
        return math.fsum(scores) / len(scores)

    def too_small(self, height: int, width: int) -> str | None:
        """Why images of this size (the LR size if compared with `lq`) cannot be measured, or None."""
        left = min(height, width) - 2 * self.crop_border
        if left >= self.min_side:
            return None
        name, size = type(self).__name__, f'{width}x{height} pixels'
        if left < 1:
            return f'{name}: crop_border {self.crop_border} leaves nothing of {size}'
        needed = f'{self.min_side}x{self.min_side}'
        return f'{name} needs at least {needed} pixels, but crop_border {self.crop_border} leaves less of {size}'

    def crop(self, *images: Tensor) -> tuple[Tensor, ...]:
        """Crops the border of images (N, 3, H, W); UserError if sizes differ or too little remains."""
        (h, w), border = images[0].shape[-2:], self.crop_border
        for other in images[1:]:
            if other.shape != images[0].shape:
                raise UserError(
                    f'{type(self).__name__}: cannot compare an image of {w}x{h} pixels with one of '
                    f'{other.shape[-1]}x{other.shape[-2]}; check the pair and the scale'
                )
        if problem := self.too_small(h, w):
            raise UserError(problem)
        return tuple(x[..., border : h - border, border : w - border] for x in images)

    def prepare(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Crops both images and converts them to float64, (N, 3, h, w), or (N, 1, h, w) luma with `test_y_channel`."""
        a, b = (x.double() for x in self.crop(a, b))
        return (to_y(a), to_y(b)) if self.test_y_channel and a.shape[1] == 3 else (a, b)

    def prepare_rgb(self, *images: Tensor) -> tuple[Tensor, ...]:
        """Crops the images, (N, 3, h, w), for networks that expect RGB; luma is repeated."""
        return tuple(x.expand(-1, 3, -1, -1) for x in self.crop(*images))
