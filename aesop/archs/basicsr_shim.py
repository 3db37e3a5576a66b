"""Runs BasicSR architecture files unmodified: their imports from `basicsr` resolve to stand-ins defined here.

    from basicsr.utils.registry import ARCH_REGISTRY
    from basicsr.archs.arch_util import ResidualBlockNoBN, Upsample, default_init_weights, make_layer, ...

Their networks join this project's registry. Afterwards `basicsr` is what it was before: absent, or the real package.
The names and signatures are BasicSR's (https://github.com/XPixelGroup/BasicSR); the code is not.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from aesop.archs.adapted import adapt
from aesop.archs.layers import conv3x3
from aesop.registry import ARCHS

logger = logging.getLogger(__name__)


class ArchRegistry:
    """BasicSR's ARCH_REGISTRY: `@ARCH_REGISTRY.register()`."""

    def register(self, obj: type[nn.Module] | None = None, suffix: str | None = None) -> Any:
        def add(cls: type[nn.Module]) -> type[nn.Module]:
            network = adapt(cls)
            if cls.__name__ in ARCHS.names():
                network.__name__ = f'{cls.__module__}.{cls.__name__}'
                logger.info('a network %s is already registered: use type: %s', cls.__name__, network.__name__)
            ARCHS.register()(network)
            return cls

        return add if obj is None else add(obj)

    def get(self, name: str) -> Callable[..., nn.Module]:
        return ARCHS.get(name)


def default_init_weights(
    module_list: nn.Module | list[nn.Module], scale: float = 1, bias_fill: float = 0, **kwargs: Any
) -> None:
    """Kaiming normal times `scale` for convolutions and linear layers; ones for BatchNorm; biases are `bias_fill`."""
    roots = module_list if isinstance(module_list, list) else [module_list]
    for layer in (layer for root in roots for layer in root.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, **kwargs)
            layer.weight.detach().mul_(scale)
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
            nn.init.ones_(layer.weight)
        else:
            continue
        if layer.bias is not None:
            nn.init.constant_(layer.bias, bias_fill)


def make_layer(basic_block: Callable[..., nn.Module], num_basic_block: int, **kwarg: Any) -> nn.Sequential:
    """A sequence of `num_basic_block` blocks."""
    return nn.Sequential(*(basic_block(**kwarg) for _ in range(num_basic_block)))


class ResidualBlockNoBN(nn.Module):
    """x + res_scale * conv(relu(conv(x))); (N, num_feat, h, w) -> the same shape."""

    def __init__(self, num_feat: int = 64, res_scale: float = 1, pytorch_init: bool = False) -> None:
        super().__init__()
        self.res_scale = res_scale
        self.conv1, self.conv2 = conv3x3(num_feat, num_feat), conv3x3(num_feat, num_feat)
        self.relu = nn.ReLU(inplace=True)
        if not pytorch_init:
            default_init_weights([self.conv1, self.conv2], 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.res_scale * self.conv2(self.relu(self.conv1(x)))


class Upsample(nn.Sequential):
    """Convolution and pixel shuffle: in steps of 2 for 2, 4, 8, ..., in one step for 3."""

    def __init__(self, scale: int, num_feat: int) -> None:
        steps = [3] if scale == 3 else [2] * (scale.bit_length() - 1)
        if scale != 3 and 2 ** len(steps) != scale:
            raise ValueError(f'scale must be 3 or a power of 2, not {scale}')
        pairs = [(conv3x3(num_feat, num_feat * step**2), nn.PixelShuffle(step)) for step in steps]
        super().__init__(*(layer for pair in pairs for layer in pair))


def pixel_unshuffle(x: Tensor, scale: int) -> Tensor:
    return F.pixel_unshuffle(x, scale)


def _ntuple(n: int) -> Callable[[Any], tuple]:
    return lambda x: tuple(x) if hasattr(x, '__iter__') and not isinstance(x, str) else (x,) * n


@contextmanager
def stand_in() -> Iterator[None]:
    """Inside, `basicsr` is importable and consists of this file's stand-ins."""
    parts = {
        'basicsr': {},
        'basicsr.utils': {'get_root_logger': lambda *_, **__: logging.getLogger('aesop')},
        'basicsr.utils.registry': {'ARCH_REGISTRY': ArchRegistry()},
        'basicsr.archs': {},
        'basicsr.archs.arch_util': {
            'ResidualBlockNoBN': ResidualBlockNoBN,
            'Upsample': Upsample,
            'default_init_weights': default_init_weights,
            'make_layer': make_layer,
            'pixel_unshuffle': pixel_unshuffle,
            'trunc_normal_': nn.init.trunc_normal_,
            '_ntuple': _ntuple,
            'to_ntuple': _ntuple,
            **{f'to_{n}tuple': _ntuple(n) for n in (1, 2, 3, 4)},
        },
    }
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split('.')[0] == 'basicsr'}
    for name, content in parts.items():
        module = sys.modules[name] = ModuleType(name)
        module.__path__ = []  # a package, so that `import basicsr.x` reports that x is missing
        vars(module).update(content)
        package, _, last = name.rpartition('.')
        if package:
            setattr(sys.modules[package], last, module)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.split('.')[0] == 'basicsr']:
            del sys.modules[name]
        sys.modules.update(before)
