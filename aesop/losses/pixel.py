"""Per-pixel losses: L1, mean squared error, Charbonnier."""

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any, Literal

import torch
from torch import Tensor, nn

from aesop.errors import UserError
from aesop.registry import LOSSES, did_you_mean


def choose(key: str, value: str, table: Mapping[str, Any]) -> Any:
    """`table[value]`, or a UserError with the option `key` and the choices."""
    if value not in table:
        hint = did_you_mean(str(value), list(table))
        raise UserError(f'{key}: unknown value "{value}"; choose from {", ".join(table)}.{hint}')
    return table[value]


Reduction = Literal['mean', 'sum', 'none']  # checked when an option file is read
REDUCTIONS = {'mean': torch.mean, 'sum': torch.sum, 'none': lambda error: error}


def total(terms: Iterable[Tensor]) -> Tensor:
    """The sum of at least one term."""
    return reduce(torch.add, terms)


class PixelLoss(nn.Module):
    """loss_weight * reduction(weight * error(sr - gt)); subclasses define the elementwise error.

    Args:
        loss_weight: factor of the whole loss.
        reduction: 'mean' or 'sum' over all elements -> scalar; 'none' -> the shape of `sr`.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: Reduction = 'mean') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.reduce = choose('reduction', reduction, REDUCTIONS)

    def forward(self, sr: Tensor, gt: Tensor, weight: Tensor | None = None) -> Tensor:
        """`sr`, `gt`: equal shapes; `weight`: multiplies the error elementwise and must broadcast to it."""
        error = self.error(sr - gt)
        return self.loss_weight * self.reduce(error if weight is None else weight * error)

    def error(self, difference: Tensor) -> Tensor:
        raise NotImplementedError


@LOSSES.register()
class L1Loss(PixelLoss):
    """|sr - gt|."""

    def error(self, difference: Tensor) -> Tensor:
        return difference.abs()


@LOSSES.register()
class MSELoss(PixelLoss):
    """(sr - gt)^2."""

    def error(self, difference: Tensor) -> Tensor:
        return difference.square()


@LOSSES.register()
class CharbonnierLoss(PixelLoss):
    """sqrt((sr - gt)^2 + eps), an L1 loss that is smooth at zero (Lai et al., LapSRN, CVPR 2017)."""

    def __init__(self, loss_weight: float = 1.0, reduction: Reduction = 'mean', eps: float = 1e-12) -> None:
        super().__init__(loss_weight, reduction)
        self.eps = eps

    def error(self, difference: Tensor) -> Tensor:
        return (difference.square() + self.eps).sqrt()


Criterion = Literal['l1', 'l2', 'mse', 'charbonnier']
CRITERIA = {'l1': L1Loss, 'l2': MSELoss, 'mse': MSELoss, 'charbonnier': CharbonnierLoss}
