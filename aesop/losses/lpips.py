"""LPIPS as a loss."""

from typing import Literal

from torch import Tensor, nn

from aesop.archs.lpips import BACKBONES, lpips_network
from aesop.losses.pixel import choose
from aesop.registry import LOSSES


@LOSSES.register()
class LPIPSLoss(nn.Module):
    """Mean over images and pixels of the LPIPS map (v0.1) of `sr` and `gt`.

    Args:
        net: backbone: 'alex', 'vgg' or 'squeeze'.
        loss_weight: factor of the loss.
        spatial: upsample each layer's map to the image size before averaging, as RefVAE does; false is plain LPIPS,
            which differs slightly.
        backbone_weights: local file with the backbone's weights, or 'imagenet' for torchvision's own.
    """

    def __init__(
        self,
        net: Literal['alex', 'vgg', 'squeeze'] = 'alex',
        loss_weight: float = 1.0,
        spatial: bool = False,
        backbone_weights: str = 'imagenet',
    ) -> None:
        super().__init__()
        choose('net', net, BACKBONES)
        self.loss_weight = loss_weight
        self.network = lpips_network(net, backbone_weights, spatial)

    def train(self, mode: bool = True) -> 'LPIPSLoss':
        return super().train(False)  # in training mode its linear layers apply dropout

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        """`sr`, `gt`: (N, 3, H, W) RGB in [0, 1]; `gt` gets no gradient."""
        return self.loss_weight * self.network(2 * sr - 1, 2 * gt.detach() - 1).mean()
