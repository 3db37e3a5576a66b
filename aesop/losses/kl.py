"""The prior of a VAE: codes follow N(0, I)."""

from typing import Literal

import torch
from torch import Tensor, nn

from aesop.losses.pixel import choose
from aesop.registry import LOSSES

REDUCTIONS = {'sum': torch.sum, 'batchmean': lambda kl: kl.sum() / len(kl), 'mean': torch.mean}


@LOSSES.register()
class KLLoss(nn.Module):
    """Kullback-Leibler divergence of N(mu, exp(logvar)) from N(0, I) (Kingma and Welling, 2014, appendix B).

    Args:
        loss_weight: factor of the loss.
        reduction: 'sum' over batch and code; 'batchmean' divides by the batch size, 'mean' by the code length too.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: Literal['sum', 'batchmean', 'mean'] = 'sum') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.reduce = choose('reduction', reduction, REDUCTIONS)

    def forward(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """`mu`, `logvar`: (N, L). The exponential is computed in at least float32."""
        mu, logvar = (x if x.dtype == torch.float64 else x.float() for x in (mu, logvar))
        return self.loss_weight * self.reduce((mu.square() + logvar.exp() - 1 - logvar) / 2)
