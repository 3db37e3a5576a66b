"""LPIPS: learned perceptual distance (Zhang et al., CVPR 2018), with its authors' package."""

import hashlib
from importlib.metadata import version
from typing import Any, Literal

from torch import Tensor

from aesop.archs.lpips import BACKBONES, MIN_SIDE, lpips_network
from aesop.losses.pixel import choose, total
from aesop.metrics.metric import Metric, weights_sha256
from aesop.registry import METRICS

KEPT = 2**28  # bytes of features: about 40 images of 480x320


@METRICS.register('calculate_lpips', 'calculate_lpips_pytorch')
class LPIPS(Metric):
    """LPIPS v0.1 on RGB.

    Args:
        net: backbone: 'alex' (the paper's), 'vgg' or 'squeeze'.
        backbone_weights: local file with the backbone's weights, or 'imagenet' for torchvision's own.
        common: arguments of `Metric`.
    """

    higher_is_better = False
    takes_y = False
    value_range = '0 and more'
    how = "v0.1 on RGB in [-1, 1], with its authors' package"

    def __init__(
        self,
        net: Literal['alex', 'vgg', 'squeeze'] = 'alex',
        backbone_weights: str = 'imagenet',
        **common: Any,
    ) -> None:
        super().__init__(**common)
        choose('net', net, BACKBONES)
        self.network: Any = lpips_network(net, backbone_weights)
        self.min_side = MIN_SIDE[net]
        self._seen: set[bytes] = set()
        self._kept: dict[bytes, list[Tensor]] = {}
        self._left = KEPT
        self.details = {
            'backbone': BACKBONES[net],
            'backbone_sha256': weights_sha256(self.network.net),
            'package': f'lpips {version("lpips")}',
        }

    def score(self, sr: Tensor, gt: Tensor) -> Tensor:
        sr, gt = self.prepare_rgb(sr, gt)
        pairs = zip(self.network.lins, self._features(sr), self._features_of_gt(gt))
        return total(linear((a - b) ** 2).mean((2, 3)) for linear, a, b in pairs).flatten()

    def _features(self, images: Tensor) -> list[Tensor]:
        """Of each layer, of length 1 at each pixel."""
        from lpips import normalize_tensor

        layers = self.network.net(self.network.scaling_layer(2 * images - 1))  # the network takes [-1, 1]
        return [normalize_tensor(layer) for layer in layers]

    def _features_of_gt(self, gt: Tensor) -> list[Tensor]:
        """On a CPU, those of an image that comes again, as in each validation, are kept: up to `KEPT` bytes."""
        if gt.device.type != 'cpu':
            return self._features(gt)
        key = hashlib.blake2b(gt.numpy().tobytes() + str(gt.shape).encode()).digest()
        if key in self._kept:
            return self._kept[key]
        features = self._features(gt)
        size = sum(feature.nbytes for feature in features)
        if key in self._seen and size <= self._left:
            self._kept[key] = features
            self._left -= size
        self._seen.add(key)
        return features
