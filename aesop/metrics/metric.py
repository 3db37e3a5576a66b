"""What all metrics share: 8-bit quantisation, border crop, colour space, and a protocol that says so."""

import hashlib
from typing import Any, Literal

import torch
from torch import Tensor, nn

from aesop.errors import UserError
from aesop.images import quantise, to_y
from aesop.losses.pixel import choose


def weights_sha256(net: nn.Module) -> str:
    """Hash of the names and values of all tensors of `net`, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


class Metric(nn.Module):
    """`metric(sr, gt, lq)` -> (N,) scores of N images; subclasses say how in `score`.

    Args:
        crop_border: pixels left out on each side.
        test_y_channel: compare the BT.601 luma instead of RGB.
        input_order: accepted because published option files carry it; images are always tensors here.
        better: 'higher' or 'lower', overrides the metric's own direction.
    """

    higher_is_better = True
    needs_gt = True
    needs_lq = False

    def __init__(
        self,
        crop_border: int = 0,
        test_y_channel: bool = False,
        input_order: str = 'HWC',
        better: Literal['higher', 'lower'] | None = None,
    ) -> None:
        super().__init__()
        self.crop_border = crop_border
        self.test_y_channel = test_y_channel
        if better is not None:
            self.higher_is_better = choose('better', better, {'higher': True, 'lower': False})
        self.details: dict[str, Any] = {}  # what a subclass adds to its protocol

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
    def forward(self, sr: Tensor, gt: Tensor | None = None, lq: Tensor | None = None) -> Tensor:
        """Scores (N,) of RGB images (N, 3, H, W) or (3, H, W) in [0, 1]; values outside are clamped."""
        for name, needed, given in (('gt', self.needs_gt, gt), ('lq', self.needs_lq, lq)):
            if needed and given is None:
                raise UserError(f'{type(self).__name__} needs {name} images, and this data set has none; leave it out')
        images = (None if x is None else quantise(x.float().reshape(-1, *x.shape[-3:])) for x in (sr, gt, lq))
        return self.score(*images)

    def score(self, sr: Tensor, gt: Tensor | None, lq: Tensor | None) -> Tensor:
        """Scores (N,) of quantised float32 images (N, 3, H, W)."""
        raise NotImplementedError

    def crop(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Both images (N, 3, H, W) without their border; UserError where sizes differ or nothing is left."""
        (h, w), border = a.shape[-2:], self.crop_border
        if a.shape != b.shape:
            raise UserError(
                f'{type(self).__name__}: cannot compare an image of {w}x{h} pixels with one of '
                f'{b.shape[-1]}x{b.shape[-2]}; check that the pair and the scale belong together'
            )
        if 2 * border >= min(h, w):
            raise UserError(f'{type(self).__name__}: crop_border {border} leaves nothing of {w}x{h} pixels')
        a, b = (x[..., border : h - border, border : w - border] for x in (a, b))
        return a, b

    def prepare(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Both images cropped, in float64, (N, 3, h, w), or (N, 1, h, w) luma with `test_y_channel`."""
        a, b = (x.double() for x in self.crop(a, b))
        return (to_y(a), to_y(b)) if self.test_y_channel else (a, b)
