"""Style as statistics of VGG features: mean and standard deviation of each channel (Huang and Belongie, ICCV 2017)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aesop.archs.vgg import VGGFeatures
from aesop.losses.pixel import REDUCTIONS, Reduction, choose, total
from aesop.registry import LOSSES

LAYERS = ('relu1_1', 'relu2_1', 'relu3_1', 'relu4_1')


def channel_statistics(features: Tensor, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, sqrt(unbiased variance + eps), over the pixels: (N, C, H, W) -> (N, C) each."""
    return features.mean((2, 3)), (features.var((2, 3)) + eps).sqrt()


@LOSSES.register()
class StatisticsLoss(nn.Module):
    """Sum over VGG layers of the L1 between channel means and between channel deviations (RefVAE, Eq. 7).

    The two images may differ in size.

    Args:
        layers: of VGG-19; relu4_1 is taken after the ReLU.
        loss_weight: factor of the loss.
        reduction: over the images and channels of a layer: 'mean' or 'sum'.
        use_input_norm: normalise the input with the ImageNet mean and standard deviation.
        vgg_weights: local file, or 'imagenet' for torchvision's own.
    """

    def __init__(
        self,
        layers: Sequence[str] = LAYERS,
        loss_weight: float = 1.0,
        reduction: Reduction = 'mean',
        use_input_norm: bool = True,
        vgg_weights: str = 'imagenet',
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.reduce = choose('reduction', reduction, REDUCTIONS)
        self.vgg = VGGFeatures(list(layers), use_input_norm=use_input_norm, weights=vgg_weights)

    def forward(self, sr: Tensor, ref: Tensor) -> Tensor:
        """`sr`, `ref`: (N, 3, H, W) RGB in [0, 1]; `ref` gets no gradient."""
        with torch.no_grad():
            wanted = {name: channel_statistics(feature) for name, feature in self.vgg(ref).items()}
        pairs = [
            pair for name, feature in self.vgg(sr).items() for pair in zip(channel_statistics(feature), wanted[name])
        ]
        return self.loss_weight * total(self.reduce((got - want).abs()) for got, want in pairs)
