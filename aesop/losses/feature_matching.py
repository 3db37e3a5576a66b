"""Feature matching: fakes shall cause the activations in a discriminator that ground truths cause."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from aesop.losses.pixel import CRITERIA, Criterion, Reduction, choose
from aesop.registry import LOSSES


def flatten(features: Tensor | Sequence[Any]) -> Iterator[Tensor]:
    """The tensors of nested lists, in order."""
    if isinstance(features, Tensor):
        yield features
    else:
        for part in features:
            yield from flatten(part)


@LOSSES.register()
class FeatureMatchingLoss(nn.Module):
    """Sum over all features of a discriminator of the distance between those of sr and of gt (pix2pixHD, Eq. 4).

    Args:
        criterion: 'l1', 'l2' (= 'mse') or 'charbonnier'.
        loss_weight: factor of the loss.
        reduction: of each feature: 'mean' or 'sum'.
    """

    def __init__(self, criterion: Criterion = 'l1', loss_weight: float = 1.0, reduction: Reduction = 'mean') -> None:
        super().__init__()
        self.criterion = choose('criterion', criterion, CRITERIA)(loss_weight, reduction)

    def forward(self, fake_features: Sequence[Any], real_features: Sequence[Any]) -> Tensor:
        """Features of the discriminator, in lists that may be nested; `real_features` get no gradient."""
        pairs = zip(flatten(fake_features), flatten(real_features), strict=True)
        return sum(self.criterion(fake, real.detach()) for fake, real in pairs)
