"""Diversity score of the NTIRE 2021 challenge on learning the super-resolution space (Lugmayr et al., CVPRW 2021)."""

from importlib.metadata import version
from typing import Any, Literal

import torch
from torch import Tensor

from aesop.archs.lpips import BACKBONES, MIN_SIDE, lpips_network
from aesop.errors import UserError
from aesop.losses.pixel import choose
from aesop.metrics.metric import Metric, weights_sha256
from aesop.registry import METRICS

MULTIPLE = 8  # images are cropped to it at the right and bottom


@METRICS.register()
class DiversityScore(Metric):
    """How much better the best solution per pixel is than the best single solution: 0 if all are identical.

    m_k(p): LPIPS map of solution k against the ground truth, the layers' maps upsampled to the image size and summed.
    With global = min_k mean_p m_k(p) and local = mean_p min_k m_k(p), the score of an image is
    100 (global - local) / global.

    Args:
        net: backbone of LPIPS: 'alex' (the challenge's), 'vgg' or 'squeeze'.
        backbone_weights: local file with the backbone's weights, or 'imagenet' for torchvision's own.
        common: arguments of `Metric`.
    """

    takes_y = False
    value_range = '0 to 100'
    how = '100 (global - local) / global over spatial LPIPS maps, images cropped to a multiple of 8 (NTIRE 2021)'

    def __init__(
        self,
        net: Literal['alex', 'vgg', 'squeeze'] = 'alex',
        backbone_weights: str = 'imagenet',
        **common: Any,
    ) -> None:
        super().__init__(**common)
        choose('net', net, BACKBONES)
        self.network = lpips_network(net, backbone_weights, spatial=True)
        self.min_side = -(-MIN_SIDE[net] // MULTIPLE) * MULTIPLE
        self.details = {
            'backbone': BACKBONES[net],
            'backbone_sha256': weights_sha256(self.network.get_submodule('net')),
            'package': f'lpips {version("lpips")}',
        }

    def score(self, samples: Tensor, gt: Tensor) -> Tensor:
        """`samples`: (N, K, 3, H, W), `gt`: (N, 3, H, W) -> (N,)."""
        if samples.shape[1] < 2:
            raise UserError('DiversityScore needs several solutions of each image: set val.solutions to 2 or more')
        maps = torch.stack([self.map(sample, gt) for sample in samples.unbind(1)], dim=1)
        best = maps.mean((2, 3)).amin(1)
        best_of_each_place = maps.amin(1).mean((1, 2))
        # 0 if a solution equals the ground truth
        return torch.where(best > 0, 100 * (best - best_of_each_place) / best, 0)

    def map(self, sample: Tensor, gt: Tensor) -> Tensor:
        """LPIPS map: two images (N, 3, H, W) -> (N, h, w), cropped to multiples of 8."""
        images = self.prepare_rgb(sample, gt)
        height, width = (side // MULTIPLE * MULTIPLE for side in images[0].shape[-2:])
        sample, gt = (2 * x[..., :height, :width] - 1 for x in images)
        return self.network(sample, gt)[:, 0]
