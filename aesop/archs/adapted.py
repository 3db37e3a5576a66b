"""Adapts networks written for other programs to this project's interface: `scale`, images of any size."""

import functools
import inspect
from typing import Any

from torch import Tensor, nn

from aesop.archs.layers import pad_to_multiple
from aesop.errors import UserError
from aesop.registry import did_you_mean

# Common names of the scale and the window size in constructors.
SCALE = ('scale', 'upscale', 'upscaling_factor', 'upscale_factor', 'up_scale', 'sf')
WINDOW = ('window_size', 'split_size', 'split_size_0', 'split_size_1', 'patch_size')


def adapt(cls: type[nn.Module], scale: int | None = None, min_size: int = 1) -> type[nn.Module]:
    """A subclass of `cls` with the same name and tensors that has a `scale` and accepts images of any size.

    Scale and window size are read from the constructor's arguments, under any of the common names. Images are
    reflection-padded at the right and bottom to whole windows, and the result is cropped.

    Args:
        cls: image to image, (N, C, h, w) -> (N, C', scale * h, scale * w).
        scale: used if the constructor has no such argument.
        min_size: side of the smallest image that the network supports; smaller ones are padded further.
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
            multiple = self.step if min(h, w) >= min_size else max(self.step, min_size)
            y = super().forward(pad_to_multiple(x, multiple), *others, **options)
            return y[..., : self.scale * h, : self.scale * w] if isinstance(y, Tensor) and y.ndim == 4 else y

    Adapted.__name__, Adapted.__qualname__ = cls.__name__, cls.__qualname__
    Adapted.__doc__, Adapted.__module__ = cls.__doc__, cls.__module__
    return Adapted


def step(arguments: dict[str, Any]) -> int:
    """The side of the largest window among a network's arguments; 1 if it has none."""
    sides = [1]
    for name in WINDOW:
        value = arguments.get(name)
        sides += [side for side in (value if isinstance(value, list | tuple) else [value]) if isinstance(side, int)]
    return max(sides)


def check_arguments(cls: type[nn.Module], arguments: dict[str, Any]) -> None:
    """Raises a UserError if the constructor of `cls` does not accept these arguments, or requires others."""
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
