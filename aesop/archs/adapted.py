"""Networks that were written for other programs, made to keep this project's rules: `scale`, images of any size."""

import functools
import inspect
from typing import Any

from torch import Tensor, nn

from aesop.archs.layers import pad_to_multiple
from aesop.errors import UserError
from aesop.registry import did_you_mean

# What the scale, and the side of what is taken together, are called in constructors of the field.
SCALE = ('scale', 'upscale', 'upscaling_factor', 'upscale_factor', 'up_scale', 'sf')
WINDOW = ('window_size', 'split_size', 'split_size_0', 'split_size_1', 'patch_size')


def adapt(cls: type[nn.Module], scale: int | None = None, least: int = 1) -> type[nn.Module]:
    """A subclass of `cls`, under the same name and with the same tensors, that has a `scale` and takes any size.

    The scale and the windows are told by the constructor's arguments, under whichever of the field's names. Images are
    reflected at the right and the bottom to whole windows, and the result is cropped.

    Args:
        cls: image to image, (N, C, h, w) -> (N, C', scale * h, scale * w).
        scale: where the constructor has no such argument.
        least: side of the smallest image that the network takes; smaller ones are reflected further.
    """

    class Adapted(cls):
        @functools.wraps(cls.__init__)
        def __init__(self, *args: Any, **arguments: Any) -> None:
            super().__init__(*args, **arguments)
            given = inspect.signature(cls).bind(*args, **arguments)
            given.apply_defaults()
            self.step = step(given.arguments)
            if not isinstance(getattr(self, 'window_size', None), int):
                self.window_size = self.step  # what tiles are aligned to
            if not isinstance(getattr(self, 'scale', None), int):
                self.scale = scale or next((v for name in SCALE if (v := given.arguments.get(name))), 1)

        def forward(self, x: Tensor, *others: Any, **options: Any) -> Tensor:
            h, w = x.shape[-2:]
            multiple = self.step if min(h, w) >= least else max(self.step, least)
            y = super().forward(pad_to_multiple(x, multiple), *others, **options)
            return y[..., : self.scale * h, : self.scale * w] if isinstance(y, Tensor) and y.ndim == 4 else y

    Adapted.__name__, Adapted.__qualname__ = cls.__name__, cls.__qualname__
    Adapted.__doc__, Adapted.__module__ = cls.__doc__, cls.__module__
    return Adapted


def step(arguments: dict[str, Any]) -> int:
    """The side of the largest window among the arguments of a network; 1 where it has none."""
    sides = [1]
    for name in WINDOW:
        value = arguments.get(name)
        sides += [side for side in (value if isinstance(value, list | tuple) else [value]) if isinstance(side, int)]
    return max(sides)


def check_arguments(cls: type[nn.Module], arguments: dict[str, Any]) -> None:
    """UserError where the constructor of `cls` has no such arguments, or needs others."""
    parameters = inspect.signature(cls).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    wrong = [
        f'{cls.__name__} has no argument "{name}".{did_you_mean(name, list(parameters))}'
        for name in arguments
        if name not in parameters
    ]
    wrong += [
        f'{cls.__name__} needs the argument "{name}"'
        for name, p in parameters.items()
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and name not in arguments
    ]
    if wrong:
        raise UserError(wrong)
