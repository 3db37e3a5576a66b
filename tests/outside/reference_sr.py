"""Reference-based SR by a small VAE: a model type with networks, losses, data, a metric and train keys of its own."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from aesop.data.datasets.bicubic import BicubicImageDataset
from aesop.metrics import Metric
from aesop.models.gan import GANModel
from aesop.options.schema import Loss, Weight, loss_key
from aesop.registry import ARCHS, DATASETS, LOSSES, METRICS, MODELS


@ARCHS.register()
class TinyReferenceVAE(nn.Module):
    inputs = ('lq', 'ref', 'noise')
    noise_shape = (4,)
    whole = True

    def __init__(self, width: int = 8, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        self.encode = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.body = nn.Sequential(nn.Conv2d(3 + 4, width, 3, padding=1), nn.ReLU())
        self.last = nn.Conv2d(width, 3 * scale**2, 3, padding=1)

    def forward(self, lq, ref, noise=None):
        mu, logvar = self.encode(ref).mean((2, 3)).chunk(2, 1)
        if noise is None:
            noise = torch.randn_like(mu) if self.training else torch.zeros_like(mu)
        z = mu + noise * (logvar / 2).exp()
        code = z[:, :, None, None].expand(-1, -1, *lq.shape[-2:])
        sr = F.pixel_shuffle(self.last(self.body(torch.cat([lq, code], 1))), self.scale)
        return {'sr': sr + F.interpolate(lq, scale_factor=self.scale), 'mu': mu, 'logvar': logvar}


@ARCHS.register()
class TinyCritic(nn.Module):
    """Its features are for feature matching; a penalty on them is a loss of its own."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, width, 4, 2, 1), nn.Conv2d(width, 1, 4, 2, 1)

    def forward(self, x):
        features = F.leaky_relu(self.first(x), 0.2)
        penalty = 0.1 * features.square().mean()
        return {'logits': self.last(features), 'features': [features], 'losses': {'penalty': penalty}}


@LOSSES.register()
class TinyKL(nn.Module):
    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, mu, logvar):
        return self.loss_weight * (mu.square() + logvar.exp() - 1 - logvar).mean() / 2


@LOSSES.register()
class TinyStyle(nn.Module):
    def forward(self, sr, ref):
        return (sr.mean((2, 3)) - ref.mean((2, 3))).abs().mean()


@MODELS.register()
class TinyReferenceModel(GANModel):
    class Train(GANModel.Train):
        kl_opt: Loss | None = loss_key('kl', 'Kullback-Leibler divergence of the code.')
        shrink: Weight = Field(1.0, description='Factor of every learning rate.')

    def _set_learning_rates(self, current_iter):
        super()._set_learning_rates(current_iter)
        for optimiser in self._optimisers.values():
            optimiser.param_groups[0]['lr'] *= self.options.train.shrink


@DATASETS.register()
@dataclass(kw_only=True, eq=False, repr=False)
class TwinDataset(BicubicImageDataset):
    """The reference of sample n is another of the images."""

    @classmethod
    def entries(cls, block):
        return 'lq', 'gt', 'ref'

    def __getitem__(self, n):
        return super().__getitem__(n) | self.solution(n, 0)

    def solution(self, n, k):
        index = np.random.default_rng((self.seed, n, 2, k)).integers(len(self.items))
        return {'ref': self._tensor(self._read(self.items[index][0])[:16, :16])}


@METRICS.register()
class Spread(Metric):
    """How much the solutions of an image differ."""

    def score(self, samples, gt):
        return samples.std(1).mean((1, 2, 3)) + 0 * gt.mean((1, 2, 3))
