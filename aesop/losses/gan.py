"""Adversarial losses: what one side of the game is worth (GANLoss), and the two ways to set up the game."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aesop.errors import UserError
from aesop.losses.pixel import CRITERIA, Criterion, Reduction, choose
from aesop.registry import LOSSES

# gan_type -> loss(pred, label, target_is_real, is_disc); predictions are raw (logits)
KINDS = {
    'vanilla': lambda pred, label, real, disc: F.binary_cross_entropy_with_logits(pred, torch.full_like(pred, label)),
    'lsgan': lambda pred, label, real, disc: F.mse_loss(pred, torch.full_like(pred, label)),
    'wgan': lambda pred, label, real, disc: -pred.mean() if real else pred.mean(),
    'wgan_softplus': lambda pred, label, real, disc: F.softplus(-pred if real else pred).mean(),
    # the generator side of the hinge loss only pushes predictions up, whatever the target
    'hinge': lambda pred, label, real, disc: F.relu(1 - pred if real else 1 + pred).mean() if disc else -pred.mean(),
}
GANType = Literal[tuple(KINDS)]


@LOSSES.register()
class GANLoss(nn.Module):
    """How far predictions of any shape are from "real" or "fake".

    Args:
        gan_type: vanilla (binary cross entropy on logits), lsgan, wgan, wgan_softplus or hinge.
        real_label_val, fake_label_val: the labels that vanilla and lsgan aim at.
        loss_weight: factor of the generator's side; the discriminator's side is not weighted.
    """

    def __init__(
        self, gan_type: GANType, real_label_val: float = 1.0, fake_label_val: float = 0.0, loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.loss = choose('gan_type', gan_type, KINDS)
        self.labels = {True: real_label_val, False: fake_label_val}
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target_is_real: bool, is_disc: bool = False) -> Tensor:
        loss = self.loss(pred, self.labels[target_is_real], target_is_real, is_disc)
        return loss if is_disc else self.loss_weight * loss


@LOSSES.register()
class MultiScaleGANLoss(GANLoss):
    """GANLoss of a discriminator that looks at several scales: the mean over its predictions.

    A prediction that is itself a list (features of each layer) counts by its last entry.
    """

    def forward(self, pred: Tensor | Sequence[Any], target_is_real: bool, is_disc: bool = False) -> Tensor:
        if isinstance(pred, Tensor):
            return super().forward(pred, target_is_real, is_disc)
        last = [scale if isinstance(scale, Tensor) else scale[-1] for scale in pred]
        return sum(super(MultiScaleGANLoss, self).forward(p, target_is_real, is_disc) for p in last) / len(last)


@LOSSES.register()
class GANFeatLoss(nn.Module):
    """Feature matching (pix2pixHD, Wang et al., CVPR 2018, Eq. 4): features of sr in a discriminator against gt's.

    Args:
        criterion: 'l1', 'l2' (= 'mse') or 'charbonnier'.
        loss_weight, reduction: as of the pixel losses.
    """

    def __init__(self, criterion: Criterion = 'l1', loss_weight: float = 1.0, reduction: Reduction = 'mean') -> None:
        super().__init__()
        self.criterion = choose('criterion', criterion, CRITERIA)(loss_weight, reduction)

    def forward(self, fake: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]]) -> Tensor:
        """Features by scale, then layer; the last layer is the prediction and is left out. Mean over the scales."""
        if isinstance(fake, Tensor):
            raise UserError(
                'GANFeatLoss compares features of a discriminator, lists by scale and layer: call it from a model of '
                'your own; as a loss of two images it means nothing'
            )
        terms = [
            self.criterion(f, r.detach())
            for f_scale, r_scale in zip(fake, real)
            for f, r in zip(f_scale[:-1], r_scale[:-1])
        ]
        return sum(terms) / len(fake)


def generator_loss(gan: nn.Module, real_pred: Tensor | None, fake_pred: Tensor, relativistic: bool) -> Tensor:
    """The generator's adversarial loss, weighted; gradient reaches `fake_pred` only.

    Relativistic average (Jolicoeur-Martineau, ICLR 2019): fakes shall look more real than the mean real and the other
    way round, half each. Plain: fakes shall look real, and `real_pred` is not used (may be None).
    """
    if not relativistic:
        return gan(fake_pred, True)
    real_pred = real_pred.detach()
    return (gan(real_pred - fake_pred.mean(), False) + gan(fake_pred - real_pred.mean(), True)) / 2


def discriminator_losses(
    gan: nn.Module, real_pred: Tensor, fake_pred: Tensor, relativistic: bool
) -> tuple[Tensor, Tensor]:
    """The discriminator's loss on real and on fake images, not weighted; relativistic sides are halved.

    In a relativistic side the mean of the other kind is a constant. `fake_pred` comes from detached images.
    """
    if not relativistic:
        return gan(real_pred, True, is_disc=True), gan(fake_pred, False, is_disc=True)
    real = gan(real_pred - fake_pred.detach().mean(), True, is_disc=True)
    fake = gan(fake_pred - real_pred.detach().mean(), False, is_disc=True)
    return real / 2, fake / 2
