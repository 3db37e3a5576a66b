"""L_AESOP: auto-encoded supervision (AESOP, CVPR 2025, section 4.2).

A pixel loss also punishes the texture that makes an image look real, since no network can know it pixel by pixel.
An auto-encoder AE with a bottleneck of the size of the LR image, trained to reproduce HR images, keeps what a
regressor can know and drops the rest. Compare images after it, and only real errors are punished:

    L_AESOP = E || AE(HR) - AE(SR) ||_1                                                        (Eq. 7 and 8)

AE stands for decoder(encoder(x)); the comparison is after the decoder, not at the bottleneck. AE is frozen: were it
trained along, it would learn to send every image to the same point.
"""

import logging
from collections.abc import Callable
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aesop.archs import build_network
from aesop.errors import UserError, at
from aesop.losses.pixel import CRITERIA, Criterion, Reduction, choose
from aesop.registry import LOSSES, KeysOf, NetworkBlock
from aesop.utils.checkpoint import load_network
from aesop.utils.shapes import shapes_only

WeightsBlock = Annotated[dict[str, Any], KeysOf(('path', 'key'))]

log = logging.getLogger(__name__)


def auto_encode(ae: nn.Module, sr: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
    """AE(sr), with gradient to `sr`, and AE(gt), a constant."""
    with torch.no_grad():
        gt = ae(gt)
    return ae(sr), gt


def aesop_loss(
    ae: nn.Module, sr: Tensor, gt: Tensor, criterion: Callable[[Tensor, Tensor], Tensor] = F.l1_loss
) -> Tensor:
    """Eq. 8. `sr`, `gt`: (N, 3, H, W) in [0, 1]."""
    return criterion(*auto_encode(ae, sr, gt))


def build_frozen_autoencoder(arch: dict[str, Any], load: dict[str, Any] | None) -> nn.Module:
    """The auto-encoder of an option block, with its weights, in eval mode and without gradients.

    Args:
        arch: network block `{type: ..., **arguments}`.
        load: `{path: FILE, key: params}`; None leaves the weights random, which is said in the log.
    """
    ae = build_network(arch)
    if shapes_only():
        pass
    elif load is None:
        log.warning('autoencoder_load is missing: the auto-encoder %s keeps random weights', arch['type'])
    elif not isinstance(load, dict) or not load.get('path') or load.keys() - {'path', 'key'}:
        raise UserError(f'autoencoder_load: expected {{path: FILE, key: params}}, got {load!r}')
    else:
        with at('autoencoder_load.path'):
            load_network(ae, load['path'], load.get('key', 'params'))
    return ae.eval().requires_grad_(False)


@LOSSES.register()
class AutoEncoderLoss(nn.Module):
    """L_AESOP as a loss of the option file.

    Args:
        autoencoder_arch: block of the auto-encoder, e.g. `{type: AutoEncoder_RRDBNet, ...}`.
        autoencoder_load: where its pretrained weights are, `{path: FILE, key: params}`; missing = random weights.
        loss_weight: factor of the loss (1 in the paper).
        criterion: 'l1' (the paper's), 'l2' (= 'mse') or 'charbonnier'.
        reduction: 'mean', 'sum' or 'none'.
        as_loss_map: punish the pixel error instead, weighted by the distance in AE space: criterion(sr, gt) times
            |AE(sr) - AE(gt)|. The map carries gradient, as LDL's artifact map does.
    """

    def __init__(
        self,
        autoencoder_arch: NetworkBlock,
        autoencoder_load: WeightsBlock | None = None,
        loss_weight: float = 1.0,
        criterion: Criterion = 'l1',
        reduction: Reduction = 'mean',
        as_loss_map: bool = False,
    ) -> None:
        super().__init__()
        self.criterion = choose('criterion', criterion, CRITERIA)(loss_weight, reduction)
        self.as_loss_map = as_loss_map
        self.ae = build_frozen_autoencoder(autoencoder_arch, autoencoder_load)

    def train(self, mode: bool = True) -> 'AutoEncoderLoss':
        return super().train(False)  # a frozen network has no training mode

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        """`sr`, `gt`: (N, 3, H, W) in [0, 1]. Gradient reaches `sr` only."""
        if self.as_loss_map:
            ae_sr, ae_gt = auto_encode(self.ae, sr, gt)
            return self.criterion(sr, gt, weight=(ae_sr - ae_gt).abs())
        return aesop_loss(self.ae, sr, gt, self.criterion)
