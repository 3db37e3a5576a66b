"""DISTS: structure and texture similarity (Ding et al., TPAMI 2020), by torchmetrics."""

from importlib.metadata import version
from types import SimpleNamespace
from typing import Literal
from unittest.mock import patch

from torch import Tensor, nn

from aesop.archs.backbones import backbone_state_dict
from aesop.errors import UserError
from aesop.metrics.metric import Metric, weights_sha256
from aesop.registry import METRICS


def dists_network(backbone_weights: str) -> nn.Module:
    """The package's network with its own alpha and beta; the VGG16 comes from a local file or torchvision."""
    from torchmetrics.functional.image import dists  # heavy, and not needed by the other metrics
    from torchvision.models.vgg import cfgs, make_layers

    backbone = SimpleNamespace(features=make_layers(cfgs['D']))
    features = {name.split('.', 1)[1]: t for name, t in backbone_state_dict('vgg16', backbone_weights).items()}
    try:
        backbone.features.load_state_dict(features)
    except RuntimeError as error:  # missing, unexpected or mis-shaped tensors
        raise UserError(f'backbone_weights: "{backbone_weights}" is not a file of vgg16') from error
    with patch.object(dists, 'vgg16', lambda weights: backbone):  # the package would download it, whatever is here
        return dists.DISTSNetwork().requires_grad_(False).eval()


@METRICS.register('calculate_dists', 'calculate_dists_pytorch')
class DISTS(Metric):
    """DISTS on RGB, images at their own size.

    Args:
        backbone_weights: local file with VGG16's weights, or 'imagenet' for torchvision's own.
        test_y_channel: accepted because published option files carry it; DISTS is always measured on RGB.
        crop_border, input_order, better: see `Metric`.
    """

    higher_is_better = False
    takes_y = False
    value_range = '0 to 1'
    how = 'on RGB at full size, by torchmetrics with the alpha and beta of the authors'

    def __init__(
        self,
        backbone_weights: str = 'imagenet',
        crop_border: int = 0,
        test_y_channel: bool = False,
        input_order: str = 'HWC',
        better: Literal['higher', 'lower'] | None = None,
    ) -> None:
        super().__init__(crop_border, test_y_channel, input_order, better)
        self.network = dists_network(backbone_weights)
        self.details = {
            'backbone': 'vgg16',
            'backbone_sha256': weights_sha256(self.network),
            'package': f'torchmetrics {version("torchmetrics")}',
        }

    def score(self, sr: Tensor, gt: Tensor) -> Tensor:
        return self.network(*self.prepare_rgb(sr, gt), require_grad=True).flatten()  # True: no inference tensors
