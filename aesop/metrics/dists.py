"""DISTS: structure and texture similarity (Ding et al., TPAMI 2020), with the weights shipped in torchmetrics."""

from importlib.metadata import distribution, version
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aesop.archs.backbones import backbone_state_dict
from aesop.errors import UserError
from aesop.metrics.metric import Metric, weights_sha256
from aesop.registry import METRICS

STAGES = ((0, 4), (5, 9), (10, 16), (17, 23), (24, 30))  # layers of VGG16's features, without max pooling
SMALL = 1e-6  # c1 and c2 of the paper's equations 4 and 5
WIDTHS = (3, 64, 128, 256, 512, 512)  # channels of the image and the stages


class DISTSNetwork(nn.Module):
    """Two batches of RGB images in [0, 1], (N, 3, h, w) -> (N,): 1 minus the similarity (equation 6).

    VGG16 with L2 pooling. Both images are processed stage by stage, so that only one stage's features are in memory:
    those of a one-megapixel image take gigabytes.

    Args:
        layers: VGG16's features, 31 layers.
        alpha, beta: (1, 1475, 1, 1) weights of the texture and structure terms.
    """

    window: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, layers: nn.Sequential, alpha: Tensor, beta: Tensor) -> None:
        super().__init__()
        self.stages = nn.ModuleList(layers[first:last] for first, last in STAGES)
        self.alpha, self.beta = nn.Parameter(alpha), nn.Parameter(beta)
        hanning = torch.from_numpy(np.hanning(5)[1:-1]).float()
        window = torch.outer(hanning, hanning)
        self.register_buffer('window', (window / window.sum())[None, None], persistent=False)
        self.register_buffer('mean', torch.tensor([0.485, 0.456, 0.406]).view(1, -1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor([0.229, 0.224, 0.225]).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        total = self.alpha.sum() + self.beta.sum()
        weights = list(zip((self.alpha / total).split(WIDTHS, 1), (self.beta / total).split(WIDTHS, 1)))
        similarity = _similarity(x, y, *weights[0])
        x, y = ((image - self.mean) / self.std for image in (x, y))
        for i, stage in enumerate(self.stages):
            x = stage(self._pool(x) if i else x)  # one after the other: the stage before is no longer needed
            y = stage(self._pool(y) if i else y)
            similarity = similarity + _similarity(x, y, *weights[i + 1])
        return 1 - similarity

    def _pool(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        window = self.window.expand(channels, -1, -1, -1)
        return (F.conv2d(x.square(), window, stride=2, padding=1, groups=channels) + 1e-12).sqrt()


def _similarity(x: Tensor, y: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """The weighted similarities of two sets of features, summed over channels: (N, C, h, w) -> (N,)."""
    (var_x, mean_x), (var_y, mean_y) = (torch.var_mean(feat, (2, 3), correction=0, keepdim=True) for feat in (x, y))
    covariance = (x * y).mean((2, 3), keepdim=True) - mean_x * mean_y
    texture = (2 * mean_x * mean_y + SMALL) / (mean_x**2 + mean_y**2 + SMALL)
    structure = (2 * covariance + SMALL) / (var_x + var_y + SMALL)
    return (alpha * texture + beta * structure).sum((1, 2, 3))


def dists_network(backbone_weights: str) -> nn.Module:
    """The network with the authors' alpha and beta; its VGG16 comes from a local file or torchvision."""
    from torchvision.models.vgg import cfgs, make_layers

    layers = make_layers(cfgs['D'])
    features = {name.split('.', 1)[1]: t for name, t in backbone_state_dict('vgg16', backbone_weights).items()}
    try:
        layers.load_state_dict(features)
    except RuntimeError as error:  # missing, unexpected or mis-shaped tensors
        raise UserError(f'backbone_weights: "{backbone_weights}" does not contain the weights of vgg16') from error
    file = distribution('torchmetrics').locate_file('torchmetrics/functional/image/dists_models/weights.pt')
    own = torch.load(str(file), map_location='cpu', weights_only=True)
    network = DISTSNetwork(layers, own['alpha'].detach(), own['beta'].detach()).requires_grad_(False).eval()
    return network.to(memory_format=torch.channels_last)  # convolutions need no reordered copies


@METRICS.register('calculate_dists', 'calculate_dists_pytorch')
class DISTS(Metric):
    """DISTS on RGB, at the images' original size.

    Args:
        backbone_weights: local file with VGG16's weights, or 'imagenet' for torchvision's own.
        common: arguments of `Metric`.
    """

    higher_is_better = False
    takes_y = False
    value_range = '0 to 1'
    how = "on RGB at full size, with the authors' alpha and beta as shipped in torchmetrics"

    def __init__(
        self,
        backbone_weights: str = 'imagenet',
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.network = dists_network(backbone_weights)
        self.details = {
            'backbone': 'vgg16',
            'backbone_sha256': weights_sha256(self.network),
            'package': f'torchmetrics {version("torchmetrics")}',
        }

    def score(self, sr: Tensor, gt: Tensor) -> Tensor:
        return self.network(*self.prepare_rgb(sr, gt))
