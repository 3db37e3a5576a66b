"""LPIPS: learned perceptual distance (Zhang et al., CVPR 2018), with its authors' package."""

from importlib.metadata import version
from typing import Literal

from torch import Tensor

from aesop.archs.lpips import BACKBONES, MIN_SIDE, lpips_network
from aesop.losses.pixel import choose
from aesop.metrics.metric import Metric, weights_sha256
from aesop.registry import METRICS


@METRICS.register('calculate_lpips', 'calculate_lpips_pytorch')
class LPIPS(Metric):
    """LPIPS v0.1 on RGB.

    Args:
        net: backbone: 'alex' (the paper's), 'vgg' or 'squeeze'.
        backbone_weights: local file with the backbone's weights, or 'imagenet' for torchvision's own.
        test_y_channel: accepted because published option files set it; LPIPS is always measured on RGB.
        crop_border, input_order, better: see `Metric`.
    """

    higher_is_better = False
    takes_y = False
    value_range = '0 and more'
    how = "v0.1 on RGB in [-1, 1], with its authors' package"

    def __init__(
        self,
        net: Literal['alex', 'vgg', 'squeeze'] = 'alex',
        backbone_weights: str = 'imagenet',
        crop_border: int = 0,
        test_y_channel: bool = False,
        input_order: str = 'HWC',
        better: Literal['higher', 'lower'] | None = None,
    ) -> None:
        super().__init__(crop_border, test_y_channel, input_order, better)
        choose('net', net, BACKBONES)
        self.network = lpips_network(net, backbone_weights)
        self.min_side = MIN_SIDE[net]
        self.details = {
            'backbone': BACKBONES[net],
            'backbone_sha256': weights_sha256(self.network.net),
            'package': f'lpips {version("lpips")}',
        }

    def score(self, sr: Tensor, gt: Tensor) -> Tensor:
        sr, gt = self.prepare_rgb(sr, gt)
        return self.network(2 * sr - 1, 2 * gt - 1).flatten()  # the network takes [-1, 1]
