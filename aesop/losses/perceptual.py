"""Distance between VGG features (Johnson et al., ECCV 2016), as used by ESRGAN, LDL and AESOP."""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aesop.archs.vgg import VGGFeatures
from aesop.losses.pixel import choose
from aesop.registry import LOSSES

DISTANCES = {
    'l1': F.l1_loss,
    'l2': F.mse_loss,
    'mse': F.mse_loss,
    'fro': lambda a, b, reduction: torch.linalg.vector_norm(a - b),  # Frobenius norm over the whole batch, not averaged
}


def gram(features: Tensor) -> Tensor:
    """Correlations between channels, divided by their number of elements: (N, C, H, W) -> (N, C, C)."""
    n, c, h, w = features.shape
    flat = features.reshape(n, c, h * w)
    return flat @ flat.transpose(1, 2) / (c * h * w)


@LOSSES.register()
class PerceptualLoss(nn.Module):
    """Weighted sum over VGG layers of the distance between features ('percep') and between Gram matrices ('style').

    Args:
        layer_weights: layer name -> weight; `conv5_4` is taken before its ReLU, `relu5_4` after. A layer of weight 0
            is skipped.
        vgg_type: network whose features are compared.
        use_input_norm: normalise the input with the ImageNet mean and standard deviation.
        range_norm: inputs are in [-1, 1] instead of [0, 1].
        perceptual_weight, style_weight: factor of each term; a term of weight 0 is neither computed nor returned.
        criterion: distance of both terms: 'l1', 'l2' (= 'mse') or 'fro'.
        reduction: for l1 and l2: 'mean' or 'sum' over the elements of a layer.
        vgg_weights: local file, or 'imagenet' for torchvision's own.
    """

    def __init__(
        self,
        layer_weights: dict[str, float],
        vgg_type: Literal['vgg16', 'vgg19'] = 'vgg19',
        use_input_norm: bool = True,
        range_norm: bool = False,
        perceptual_weight: float = 1.0,
        style_weight: float = 0.0,
        criterion: Literal['l1', 'l2', 'mse', 'fro'] = 'l1',
        vgg_weights: str = 'imagenet',
        reduction: Literal['mean', 'sum'] = 'mean',
    ) -> None:
        super().__init__()
        self.layer_weights = {name: weight for name, weight in layer_weights.items() if weight}
        self.perceptual_weight = perceptual_weight
        self.style_weight = style_weight
        choose('reduction', reduction, {'mean': 'mean', 'sum': 'sum'})
        self.distance = partial(choose('criterion', criterion, DISTANCES), reduction=reduction)
        self.vgg = VGGFeatures(list(self.layer_weights), vgg_type, use_input_norm, range_norm, vgg_weights)

    def forward(self, sr: Tensor, gt: Tensor) -> dict[str, Tensor]:
        """`sr`, `gt`: (N, 3, H, W) RGB. Returns weighted scalars; `gt` gets no gradient."""
        with torch.no_grad():
            gt_features = self.vgg(gt)
        sr_features = self.vgg(sr)
        terms = {}
        if self.perceptual_weight > 0:
            terms['percep'] = self.perceptual_weight * sum(
                w * self.distance(sr_features[k], gt_features[k]) for k, w in self.layer_weights.items()
            )
        if self.style_weight > 0:
            terms['style'] = self.style_weight * sum(
                w * self.distance(gram(sr_features[k]), gram(gt_features[k])) for k, w in self.layer_weights.items()
            )
        return terms
