"""L_AESOP: auto-encoded supervision (AESOP, CVPR 2025, section 4.2).

A pixel loss also penalises the texture that makes an image look real, since no network can predict it pixel by pixel.
An auto-encoder AE with an LR-sized bottleneck, trained to reconstruct HR images, keeps what a regressor can predict
and drops the rest. Comparing its outputs penalises only avoidable errors:

    L_AESOP = E || AE(HR) - AE(SR) ||_1                                                        (Eq. 7 and 8)

AE is decoder(encoder(x)); images are compared after the decoder, not at the bottleneck. AE is frozen: trained jointly,
it would learn to map every image to the same point.
"""

import logging
from collections.abc import Callable
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aesop.archs import build_network
from aesop.errors import UserError, error_context
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
        load: `{path: FILE, key: params}`; None keeps random weights and logs a warning.
    """
    ae = build_network(arch)
    if shapes_only():
        pass
    elif load is None:
        log.warning('autoencoder_load is not set: the auto-encoder %s keeps random weights', arch['type'])
    elif not isinstance(load, dict) or not load.get('path') or load.keys() - {'path', 'key'}:
        raise UserError(f'autoencoder_load: expected {{path: FILE, key: params}}, got {load!r}')
    else:
        with error_context('autoencoder_load.path'):
            load_network(ae, load['path'], load.get('key', 'params'))
    return ae.eval().requires_grad_(False)


@LOSSES.register()
class AutoEncoderLoss(nn.Module):
    """L_AESOP as a loss in option files.

    Args:
        autoencoder_arch: block of the auto-encoder, e.g. `{type: AutoEncoder_RRDBNet, ...}`.
        autoencoder_load: its pretrained weights, `{path: FILE, key: params}`; random weights if not set.
        loss_weight: factor of the loss (1 in the paper).
        criterion: 'l1' (the paper's), 'l2' (= 'mse') or 'charbonnier'.
        reduction: 'mean', 'sum' or 'none'.
        as_loss_map: use the pixel error weighted by the distance in AE space instead: criterion(sr, gt) times
            |AE(sr) - AE(gt)|. The map is differentiated too, like LDL's artifact map.
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
