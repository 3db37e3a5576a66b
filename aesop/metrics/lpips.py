"""LPIPS: learned perceptual distance (Zhang et al., CVPR 2018), by its authors' package."""

import warnings
from importlib.metadata import version
from typing import Literal

from torch import Tensor, nn

from aesop.archs.backbones import backbone_state_dict
from aesop.errors import UserError
from aesop.losses.pixel import choose
from aesop.metrics.metric import Metric, weights_sha256
from aesop.registry import METRICS

BACKBONES = {'alex': 'alexnet', 'vgg': 'vgg16', 'squeeze': 'squeezenet1_1'}
LEAST_SIDE = {'alex': 31, 'vgg': 16, 'squeeze': 17}  # pixels, below which pooling leaves nothing


def lpips_network(net: str, backbone_weights: str) -> nn.Module:
    """The package's network with its own linear layers; the backbone comes from a local file or torchvision."""
    import lpips  # heavy, and not needed by the other metrics

    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # the package uses an old argument of torchvision
        network = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)  # pnet_rand: do not download the backbone
    features = backbone_state_dict(BACKBONES[net], backbone_weights)
    # the package cuts the backbone's `features.I` into slices, as `sliceK.I`
    names = {f'features.{name.split(".", 1)[1]}': name for name in network.net.state_dict()}
    try:
        network.net.load_state_dict({names.get(k, k): tensor for k, tensor in features.items()})
    except RuntimeError as error:  # missing, unexpected or mis-shaped tensors
        raise UserError(f'backbone_weights: "{backbone_weights}" is not a file of {BACKBONES[net]}') from error
    return network.requires_grad_(False)


@METRICS.register('calculate_lpips', 'calculate_lpips_pytorch')
class LPIPS(Metric):
    """LPIPS v0.1 on RGB.

    Args:
        net: backbone: 'alex' (the paper's), 'vgg' or 'squeeze'.
        backbone_weights: local file with the backbone's weights, or 'imagenet' for torchvision's own.
        test_y_channel: accepted because published option files carry it; LPIPS is always measured on RGB.
        crop_border, input_order, better: see `Metric`.
    """

    higher_is_better = False
    takes_y = False
    value_range = '0 and more'
    how = 'v0.1 on RGB in [-1, 1], by the package of its authors'

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
        self.least_side = LEAST_SIDE[net]
        self.details = {
            'backbone': BACKBONES[net],
            'backbone_sha256': weights_sha256(self.network.net),
            'package': f'lpips {version("lpips")}',
        }

    def score(self, sr: Tensor, gt: Tensor) -> Tensor:
        sr, gt = self.prepare_rgb(sr, gt)
        return self.network(2 * sr - 1, 2 * gt - 1).flatten()  # the network takes [-1, 1]
