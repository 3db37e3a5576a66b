"""What all metrics share: 8-bit quantisation, border crop, colour space, and a protocol that says so."""

import hashlib
import inspect
import logging
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from aesop.errors import UserError
from aesop.losses.pixel import choose
from aesop.utils.images import quantise, to_y

logger = logging.getLogger(__name__)


def weights_sha256(net: nn.Module, **others: Tensor) -> str:
    """Hash of the names and values of all tensors of `net` (and others), whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted((net.state_dict() | others).items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


class Metric(nn.Module):
    """`metric(sr, gt, lq)` -> (N,) scores of N images; subclasses say how in `score`.

    A metric of whole sets (`per_image` false) gives instead N tensors: what each image contributes to the set's score,
    which `summary` makes of the contributions of all images. So images may be seen in any order and on any rank.

    The attributes of the class are its row in the table of all metrics (`aesop.metrics.table`):
        higher_is_better: direction; `better` overrides it.
        value_range: the values it can take, in words.
        needs: the quantities that it reads: the arguments of `score`. `samples`, (N, S, 3, H, W), are all solutions of
            an image; other metrics are asked once for each.
        how: its protocol in a sentence, beyond what all metrics share.
        per_image: whether each image has a score.
        takes_y: whether it can be measured on luma; others have a colour of their own.
        over: which value of several solutions of an image counts: 'mean', 'worst' or 'best'.
        least_side: pixels that an image must have on each side after the crop.

    Args:
        crop_border: pixels left out on each side.
        test_y_channel: compare the BT.601 luma instead of RGB.
        input_order: accepted because published option files carry it; images are always tensors here.
        better: 'higher' or 'lower', overrides the metric's own direction.
    """

    higher_is_better = True
    value_range = ''
    needs: ClassVar[tuple[str, ...]] = ()
    needs_gt: ClassVar[bool] = False
    needs_lq: ClassVar[bool] = False
    how = ''
    per_image = True
    takes_y = True
    least_side = 1
    over: str = 'mean'

    def __init__(
        self,
        crop_border: int = 0,
        test_y_channel: bool = False,
        input_order: str = 'HWC',
        better: Literal['higher', 'lower'] | None = None,
    ) -> None:
        super().__init__()
        self.crop_border = crop_border
        if test_y_channel and not self.takes_y:  # published option files say so all the same
            logger.warning('%s is never measured on luma: test_y_channel has no effect', type(self).__name__)
        self.test_y_channel = test_y_channel and self.takes_y
        if better is not None:
            self.higher_is_better = choose('better', better, {'higher': True, 'lower': False})
        self.details: dict[str, Any] = {}  # what a subclass adds to its protocol

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        arguments = list(inspect.signature(cls.score).parameters.values())[1:]
        cls.needs = tuple(a.name for a in arguments if a.kind is a.POSITIONAL_OR_KEYWORD)
        cls.needs_gt, cls.needs_lq = 'gt' in cls.needs, 'lq' in cls.needs

    @property
    def protocol(self) -> dict[str, Any]:
        """What the score depends on besides the images, for result files."""
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
        """Scores (N,), or N contributions, of RGB images (N, 3, H, W) or (3, H, W) in [0, 1], clamped to that.

        Images of one channel (`color: y`) are luma already. `others` are further quantities that `score` reads.
        """
        given = {'sr': sr, 'gt': gt, 'lq': lq, **others}
        images = []
        for name in self.needs:
            if given.get(name) is None:
                raise UserError(f'{type(self).__name__} needs {name} images, and this data set has none; leave it out')
            image = given[name].float()
            images.append(quantise(image if name == 'samples' else image.reshape(-1, *image.shape[-3:])))
        return self.score(*images)

    def score(self, *images: Tensor) -> Tensor | list[Tensor]:
        """Scores (N,), or N contributions, of quantised float32 images (N, 3, H, W). Subclasses name what they read."""
        raise NotImplementedError

    def summary(self, scores: Sequence[Any]) -> float:
        """The score of a set: the mean over its images, or what a subclass makes of their contributions."""
        return math.fsum(scores) / len(scores)

    def too_small(self, height: int, width: int) -> str | None:
        """What keeps images of this size (at LR size where `lq` is what they are compared with) from being measured."""
        left = min(height, width) - 2 * self.crop_border
        if left >= self.least_side:
            return None
        name, size = type(self).__name__, f'{width}x{height} pixels'
        if left < 1:
            return f'{name}: crop_border {self.crop_border} leaves nothing of {size}'
        needed = f'{self.least_side}x{self.least_side}'
        return f'{name} needs at least {needed} pixels, and crop_border {self.crop_border} leaves less of {size}'

    def crop(self, *images: Tensor) -> tuple[Tensor, ...]:
        """The images (N, 3, H, W) without their border; UserError where sizes differ or too little is left."""
        (h, w), border = images[0].shape[-2:], self.crop_border
        for other in images[1:]:
            if other.shape != images[0].shape:
                raise UserError(
                    f'{type(self).__name__}: cannot compare an image of {w}x{h} pixels with one of '
                    f'{other.shape[-1]}x{other.shape[-2]}; check that the pair and the scale belong together'
                )
        if problem := self.too_small(h, w):
            raise UserError(problem)
        return tuple(x[..., border : h - border, border : w - border] for x in images)

    def prepare(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Both images cropped, in float64, (N, 3, h, w), or (N, 1, h, w) luma with `test_y_channel`."""
        a, b = (x.double() for x in self.crop(a, b))
        return (to_y(a), to_y(b)) if self.test_y_channel and a.shape[1] == 3 else (a, b)

    def prepare_rgb(self, *images: Tensor) -> tuple[Tensor, ...]:
        """The images cropped, (N, 3, h, w): for networks of colour images; luma is repeated."""
        return tuple(x.expand(-1, 3, -1, -1) for x in self.crop(*images))
