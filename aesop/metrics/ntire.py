"""The perceptual score of the NTIRE challenges on x4 super-resolution (Chen et al., CVPRW 2024 and 2025)."""

from typing import Any

import torch
from torch import Tensor, nn

from aesop.metrics.dists import DISTS
from aesop.metrics.lpips import LPIPS
from aesop.metrics.metric import Metric
from aesop.metrics.no_reference import CLIPIQA, MANIQA, MUSIQ, NIQE
from aesop.registry import METRICS


def ntire_score(lpips: Tensor, dists: Tensor, clipiqa: Tensor, maniqa: Tensor, musiq: Tensor, niqe: Tensor) -> Tensor:
    """(1 - LPIPS) + (1 - DISTS) + CLIPIQA + MANIQA + MUSIQ / 100 + max(0, (10 - NIQE) / 10); at most about 6."""
    return (1 - lpips) + (1 - dists) + clipiqa + maniqa + musiq / 100 + ((10 - niqe) / 10).clamp(min=0)


@METRICS.register()
class NTIREScore(Metric):
    """`ntire_score` of an image. Needs `pip install "aesop-sr[iqa]"`.

    Args:
        lpips_weights, dists_weights: `backbone_weights` of `LPIPS` (AlexNet) and of `DISTS` (VGG16).
        common: arguments of `Metric`; the challenge does not crop.
    """

    value_range = 'up to 6'
    how = '(1 - LPIPS) + (1 - DISTS) + CLIPIQA + MANIQA + MUSIQ / 100 + max(0, (10 - NIQE) / 10), on RGB'
    takes_y = False
    min_side = NIQE.min_side

    def __init__(
        self,
        lpips_weights: str = 'imagenet',
        dists_weights: str = 'imagenet',
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.parts = nn.ModuleDict(
            {
                'lpips': LPIPS(backbone_weights=lpips_weights, crop_border=self.crop_border),
                'dists': DISTS(backbone_weights=dists_weights, crop_border=self.crop_border),
                'clipiqa': CLIPIQA(crop_border=self.crop_border),
                'maniqa': MANIQA(crop_border=self.crop_border),
                'musiq': MUSIQ(crop_border=self.crop_border),
                'niqe': NIQE(crop_border=self.crop_border),
            }
        )
        self.details = {'parts': {name: part.details for name, part in self.parts.items()}}

    def score(self, sr: Tensor, gt: Tensor) -> Tensor:
        return ntire_score(**{name: part(sr, gt).to(torch.float64) for name, part in self.parts.items()})


PROTOCOLS: dict[str, dict[str, dict[str, Any]]] = {
    'ntire': {
        'ntire': {'type': 'NTIREScore'},
        'lpips': {'type': 'LPIPS'},
        'dists': {'type': 'DISTS'},
        'clipiqa': {'type': 'CLIPIQA'},
        'maniqa': {'type': 'MANIQA'},
        'musiq': {'type': 'MUSIQ'},
        'niqe': {'type': 'NIQE'},
    },
}
"""Metric blocks by protocol name, for `aesop evaluate --protocol NAME` and `val.metrics`."""
