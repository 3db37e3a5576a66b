"""Adversarial losses: GANLoss for one set of predictions, and their plain and relativistic combinations."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aesop.errors import UserError
from aesop.losses.pixel import CRITERIA, Criterion, Reduction, choose, total
from aesop.registry import LOSSES

Logits = Tensor | Sequence[Tensor]  # a sequence: one tensor per scale

# gan_type -> loss(pred, label, target_is_real, is_disc, reduction); predictions are raw (logits)
KINDS: dict[str, Callable[..., Tensor]] = {
    'vanilla': lambda pred, label, real, disc, reduction: F.binary_cross_entropy_with_logits(
        pred, torch.full_like(pred, label), reduction=reduction
    ),
    'lsgan': lambda pred, label, real, disc, reduction: F.mse_loss(
        pred, torch.full_like(pred, label), reduction=reduction
    ),
    'l1': lambda pred, label, real, disc, reduction: F.l1_loss(pred, torch.full_like(pred, label), reduction=reduction),
    'wgan': lambda pred, label, real, disc, reduction: _reduce(-pred if real else pred, reduction),
    'wgan_softplus': lambda pred, label, real, disc, reduction: _reduce(F.softplus(-pred if real else pred), reduction),
    # the generator side of the hinge loss only pushes predictions up, whatever the target
    'hinge': lambda pred, label, real, disc, reduction: _reduce(
        F.relu(1 - pred if real else 1 + pred) if disc else -pred, reduction
    ),
}
GANType = Literal['vanilla', 'lsgan', 'l1', 'wgan', 'wgan_softplus', 'hinge']


def _reduce(values: Tensor, reduction: str) -> Tensor:
    return values.sum() if reduction == 'sum' else values.mean()


@LOSSES.register('MultiScaleGANLoss')
class GANLoss(nn.Module):
    """Adversarial loss on predictions of any shape; for several scales, the mean over the scales.

    Args:
        gan_type: vanilla (binary cross entropy on logits), lsgan, l1, wgan, wgan_softplus or hinge.
        real_label_val, fake_label_val: target labels of vanilla, lsgan and l1. A range [low, high] applies to the
            discriminator, whose label is drawn from it in each iteration (`draw_labels`); the generator's labels are
            then 1 and 0.
        loss_weight: factor of the generator's loss; the discriminator's loss is not weighted.
        reduction: 'mean' or 'sum' over the predictions.
        relativistic: compare real with fake predictions (relativistic average) instead of judging each alone.
    """

    adversarial = True

    def __init__(
        self,
        gan_type: GANType,
        real_label_val: float | list[float] = 1.0,
        fake_label_val: float | list[float] = 0.0,
        loss_weight: float = 1.0,
        reduction: Literal['mean', 'sum'] = 'mean',
        relativistic: bool = False,
    ) -> None:
        super().__init__()
        self.loss = choose('gan_type', gan_type, KINDS)
        given = {True: real_label_val, False: fake_label_val}
        self.ranges: dict[bool, list[float]] = {real: value for real, value in given.items() if isinstance(value, list)}
        for real, bounds in self.ranges.items():
            if len(bounds) != 2 or bounds[0] > bounds[1]:
                raise UserError(f'{"real" if real else "fake"}_label_val: a range is [low, high], not {bounds}')
        self.labels = {real: float(real) if isinstance(value, list) else value for real, value in given.items()}
        self.drawn = {real: (low + high) / 2 for real, (low, high) in self.ranges.items()}
        self.loss_weight = loss_weight
        self.reduction = choose('reduction', reduction, {'mean': 'mean', 'sum': 'sum'})
        self.relativistic = relativistic

    def draw_labels(self) -> None:
        """Draws the discriminator's labels uniformly from their ranges, real first, with PyTorch's generator."""
        for real, (low, high) in sorted(self.ranges.items(), reverse=True):
            self.drawn[real] = low + (high - low) * torch.rand((), device='cpu').item()

    def forward(self, pred: Logits, target_is_real: bool, is_disc: bool = False) -> Tensor:
        if not isinstance(pred, Tensor):
            return total(self(scale, target_is_real, is_disc) for scale in pred) / len(pred)
        label = self.labels[target_is_real]
        if is_disc:
            return self.loss(pred, self.drawn.get(target_is_real, label), target_is_real, True, self.reduction)
        return self.loss_weight * self.loss(pred, label, target_is_real, False, self.reduction)


@LOSSES.register()
class GANFeatLoss(nn.Module):
    """Feature matching (pix2pixHD, Wang et al., CVPR 2018, Eq. 4) between a discriminator's features of sr and gt.

    Args:
        criterion: 'l1', 'l2' (= 'mse') or 'charbonnier'.
        loss_weight, reduction: as in the pixel losses.
    """

    def __init__(self, criterion: Criterion = 'l1', loss_weight: float = 1.0, reduction: Reduction = 'mean') -> None:
        super().__init__()
        self.criterion = choose('criterion', criterion, CRITERIA)(loss_weight, reduction)

    def forward(self, fake_features: Sequence[Any], real_features: Sequence[Any]) -> Tensor:
        """Features of equal shapes, a list of tensors or a list of such lists, one per scale; averaged over all with
        reduction 'mean', else summed."""
        pairs = zip(_tensors(fake_features), _tensors(real_features), strict=True)
        terms = [self.criterion(fake, real.detach()) for fake, real in pairs]
        return total(terms) / (len(terms) if self.criterion.reduce is torch.mean else 1)


def _tensors(features: Any) -> list[Tensor]:
    return [features] if isinstance(features, Tensor) else [x for scale in features for x in _tensors(scale)]


def generator_loss(gan: nn.Module, real: Any, fake: Logits, relativistic: bool) -> Tensor:
    """The generator's adversarial loss, weighted; gradient reaches `fake` only.

    Relativistic average (Jolicoeur-Martineau, ICLR 2019): fakes should look more real than the mean real and vice
    versa, half each. Plain: fakes should look real; `real` is not used and may be None.
    """
    if not relativistic:
        return gan(fake, True)
    if not isinstance(fake, Tensor):
        return total(generator_loss(gan, r, f, True) for r, f in zip(real, fake)) / len(fake)
    real = real.detach()
    return (gan(real - fake.mean(), False) + gan(fake - real.mean(), True)) / 2


def discriminator_losses(gan: nn.Module, real: Any, fake: Logits, relativistic: bool) -> tuple[Tensor, Tensor]:
    """The discriminator's loss on real and on fake images, unweighted; relativistic terms are halved.

    In a relativistic term, the mean prediction of the other kind is detached. `fake` comes from detached images.
    """
    if not relativistic:
        return gan(real, True, is_disc=True), gan(fake, False, is_disc=True)
    if not isinstance(fake, Tensor):
        sides = zip(*(discriminator_losses(gan, r, f, True) for r, f in zip(real, fake)))
        l_real, l_fake = (total(side) / len(fake) for side in sides)
        return l_real, l_fake
    l_real = gan(real - fake.detach().mean(), True, is_disc=True)
    l_fake = gan(fake - real.detach().mean(), False, is_disc=True)
    return l_real / 2, l_fake / 2


def mean_prediction(logits: Logits) -> Tensor:
    """The mean logit over all scales."""
    scales = [logits] if isinstance(logits, Tensor) else list(logits)
    return torch.stack([scale.detach().mean() for scale in scales]).mean()
