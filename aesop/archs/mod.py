"""CAL-GAN's discriminator, a mixture of experts, with its own loss terms (Park, Son and Lee, ICCV 2023).

Formulas and weights are those of the published code, github.com/jkpark0825/CAL_GAN at d13616e.
"""

from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aesop.archs.layers import in_fp32
from aesop.errors import UserError
from aesop.registry import ARCHS


def orthogonality(weight: Tensor) -> Tensor:
    """Mean squared cosine between the rows of (E, C): 0 if they are orthogonal.

    The mean is over all E * E pairs; a row paired with itself counts as 0.
    """
    with in_fp32(weight):
        rows = F.normalize(weight.float(), dim=1)
        cosines = rows @ rows.T
        return (cosines - cosines.diag().diag()).square().mean()


def lda(features: Tensor) -> Tensor:
    """Variance within experts plus similarity between them, of features (N, tokens, E, C); the sum over experts.

    Within an expert it is the variance over all its values; between two, mean(f_i f_j) / (sum(f_i) sum(f_j) + 1e-5).
    Because of the sums, the second part is about 1e-8 of the first at the usual sizes.
    """
    with in_fp32(features):
        features = features.float()
        within = features.var((0, 1, 3)).sum()
        products = torch.einsum('ntic,ntjc->ij', features, features) / features[:, :, 0].numel()
        sums = features.sum((0, 1, 3))
        between = (products / (torch.outer(sums, sums) + 1e-5)).triu(1).sum()
    return within + between


def expert_shares(routing: Tensor) -> Tensor:
    """(N, tokens, E) probabilities -> (N, E): the share of an image's tokens that is sent to each expert."""
    return F.one_hot(routing.argmax(-1), routing.shape[-1]).float().mean(1)


def load_balance(routing: Tensor) -> Tensor:
    """Mean over images and experts of share * mean probability, times E^2 / tokens, of routing (N, tokens, E).

    The share is constant: the gradient passes through the probability. Images are independent of each other, so the
    mean over ranks with equal batches equals the term of the whole batch.
    """
    tokens, experts = routing.shape[1:]
    return (expert_shares(routing) * routing.float().mean(1)).mean() * experts**2 / tokens


class Scale(nn.Module):
    """(..., width) times a learned vector, initialised from N(0, 1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.to(x.dtype)


@ARCHS.register()
class MOD(nn.Module):
    """Mixture of experts as a discriminator: a logit for every 4x4 pixels, from the expert that a router chooses.

    (N, num_in_ch, H, W) gives tokens = floor(H / 4) * floor(W / 4) with a receptive field of 40x40 pixels. The router
    sends each token to the most probable expert; experts have their own features and share one classifier. sr is judged
    with the routing of its gt, returned in `for_sr`. The choice passes no gradient: the router learns from the balance
    term only, whose gradient is about 1e-8, so routing and loss terms are computed in fp32.

    Args:
        num_feat: channels at full size; an expert's features have four times as many.
        num_expert: number of experts.
        orthogonality_weight, lda_weight, balance_weight: factors of the discriminator's own loss terms, see above.
    """

    def __init__(
        self,
        num_in_ch: int = 3,
        num_feat: int = 64,
        num_expert: int = 12,
        orthogonality_weight: float = 10.0,
        lda_weight: float = 10.0,
        balance_weight: float = 0.05,
    ) -> None:
        super().__init__()
        if num_expert < 1:
            raise UserError(f'MOD: num_expert is {num_expert}, but a mixture needs at least one expert')
        self.weights = {'orthogonality': orthogonality_weight, 'lda': lda_weight, 'balance': balance_weight}
        self.num_expert = num_expert
        # Published files also contain the shared classifier once per expert.
        self.published_aliases = {'classifier.': tuple(f'classifiers.{k}.' for k in range(num_expert))}
        width = 4 * num_feat
        layers = [nn.Conv2d(num_in_ch, num_feat, 3, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        for inputs, outputs, stride in (
            (num_feat, num_feat, 2),
            (num_feat, 2 * num_feat, 1),
            (2 * num_feat, 2 * num_feat, 2),
            (2 * num_feat, width, 1),
            (width, width, 1),
            (width, width, 1),
        ):
            conv = nn.Conv2d(inputs, outputs, 2 + stride, stride, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2, inplace=True)]
        self.FE = nn.Sequential(*layers)
        self.w_gating1 = nn.Parameter(torch.randn(width, num_expert))
        self.orthonet = nn.Sequential(
            OrderedDict(
                body=nn.Sequential(nn.Linear(width, width * num_expert), nn.LeakyReLU(0.2, inplace=True)),
                trans=Scale(width * num_expert),
                activation=nn.LeakyReLU(0.2, inplace=True),
            )
        )
        self.classifier = nn.Sequential(
            nn.Linear(width, width // 8), nn.LeakyReLU(0.2, inplace=True), nn.Linear(width // 8, 1)
        )

    def forward(self, x: Tensor, routing: Tensor | None = None) -> dict[str, Any]:
        """Judges images.

        Args:
            x: (N, num_in_ch, H, W), RGB in [0, 1], sides of at least 4 pixels.
            routing: (N, tokens, E), probabilities of the experts; None: computed by the router.

        Returns:
            `logits` (N, tokens, 1) and `features`, a list with those of the chosen experts (N, tokens, 4 * num_feat).
            Unless `routing` was given, also `losses` (its own terms, weighted), `for_sr` (the routing, detached) and
            `monitor` (`expert_00`, ...: the share of tokens routed to each expert).
        """
        tokens = self.tokens(x)
        routed = routing is None
        if routed:
            routing = self.route(tokens)
        features = self.orthonet(tokens).unflatten(-1, (self.num_expert, -1))  # (N, tokens, E, C)
        chosen = features.take_along_dim(routing.argmax(-1)[..., None, None], 2).squeeze(2)
        out = {'logits': self.classifier(chosen), 'features': [chosen]}
        if routed:
            terms = {
                'orthogonality': orthogonality(self.orthonet.get_parameter('trans.weight').view(self.num_expert, -1)),
                'lda': lda(features),
                'balance': load_balance(routing),
            }
            out['losses'] = {name: self.weights[name] * term for name, term in terms.items()}
            out['for_sr'] = {'routing': routing.detach()}
            shares = expert_shares(routing.detach()).mean(0)
            out['monitor'] = {f'expert_{k:02d}': share for k, share in enumerate(shares)}
        return out

    def tokens(self, x: Tensor) -> Tensor:
        """(N, num_in_ch, H, W) -> (N, tokens, C): features of each 4x4 pixels, row by row."""
        return self.FE(x).flatten(2).mT

    def route(self, tokens: Tensor) -> Tensor:
        """(N, tokens, C) -> (N, tokens, E), the probabilities of the experts."""
        with in_fp32(tokens):
            return (tokens.to(self.w_gating1.dtype) @ self.w_gating1).softmax(-1)
