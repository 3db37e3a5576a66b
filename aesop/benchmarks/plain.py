"""The training iteration of the published code in plain eager fp32: the baseline of the step benchmark.

It follows the published code without slowing it down artificially: five discriminator passes (one of them with an
unused graph), the EMA generator with a graph, the local variance with an unfold, dense blocks that concatenate,
attention by its definition, NCHW, Adam and EMA parameter by parameter, one host synchronisation per logged value. As
there, the auto-encoder and VGG are frozen: no gradients of their weights, and no graph for the ground truth.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aesop.archs import build_network
from aesop.archs.layers import use_plain
from aesop.losses import build_loss
from aesop.losses.gan import discriminator_losses
from aesop.losses.pixel import total
from aesop.options import Options


class PlainStep:
    """`step(batch)` on networks of its own, built from the options of an AE, ESRGAN, LDL or AESOP recipe.

    The adversarial form is the relativistic one of these recipes.
    """

    def __init__(self, options: Options, device: torch.device) -> None:
        train = options.training
        self.device = device
        network_d = getattr(options, 'network_d', None)
        self.is_gan = network_d is not None
        self.net_g = use_plain(build_network(options.network_g)).to(device)
        self.net_g_ema = use_plain(build_network(options.network_g)).to(device).eval()
        self.net_g_ema.load_state_dict(self.net_g.state_dict())
        self.ema_decay = train.ema_decay
        self.net_d: Any = use_plain(build_network(network_d)).to(device) if network_d else None
        named = {'pix': train.pixel_opt, 'aesop': train.aesop_opt, 'percep': train.perceptual_opt}
        self.losses = {name: use_plain(build_loss(block)).to(device) for name, block in named.items() if block}
        keys = {'at_lr': 'pixel_at_LR_opt', 'artifacts': 'artifacts_opt', 'gan': 'gan_opt'}
        others = {name: getattr(train, key, None) for name, key in keys.items()}
        self._others: dict[str, Any] = {name: build_loss(block).to(device) for name, block in others.items() if block}
        self.optim_g = adam(self.net_g, train.optim_g)
        self.optim_d: Any = adam(self.net_d, train.optim_d) if self.is_gan else None

    def step(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """One iteration; the loss terms by their usual names, as numbers on the host."""
        lq, gt = (batch[name].to(self.device) for name in ('lq', 'gt'))
        terms = self._gan(lq, gt) if self.is_gan else self._autoencoder(lq, gt)
        values = {name: term.item() for name, term in terms.items()}
        averages, parameters = (dict(net.named_parameters()) for net in (self.net_g_ema, self.net_g))
        with torch.no_grad():
            for name, average in averages.items():
                average.mul_(self.ema_decay).add_(parameters[name], alpha=1 - self.ema_decay)
        return values

    def _autoencoder(self, lq: Tensor, gt: Tensor) -> dict[str, Tensor]:
        self.optim_g.zero_grad()
        reconstruction, bottleneck = self.net_g(gt, also=('lr',)).values()
        terms = {'l_pix': self.losses['pix'](reconstruction, gt), 'l_pix_at_LR': self._others['at_lr'](bottleneck, lq)}
        total(terms.values()).backward()
        self.optim_g.step()
        return terms

    def _gan(self, lq: Tensor, gt: Tensor) -> dict[str, Tensor]:
        gan = self._others['gan']
        self.net_d.requires_grad_(False)
        self.optim_g.zero_grad()
        sr = self.net_g(lq)
        sr_ema = self.net_g_ema(lq)
        terms = {}
        for name, loss in self.losses.items():
            value = loss(sr, gt)
            terms[f'l_g_{name}'] = value['percep'] if isinstance(value, dict) else value
        if 'artifacts' in self._others:
            artifacts = artifact_map(gt, sr, sr_ema)
            terms['l_g_artifacts'] = self._others['artifacts'].criterion(artifacts * sr, artifacts * gt)
        real_pred = self.net_d(gt).detach()
        fake_pred = self.net_d(sr)
        sides = gan(real_pred - fake_pred.mean(), False) + gan(fake_pred - real_pred.mean(), True)
        terms['l_g_gan'] = sides / 2
        total(terms.values()).backward()
        self.optim_g.step()

        self.net_d.requires_grad_(True)
        self.optim_d.zero_grad()
        fake_pred = self.net_d(sr).detach()
        real_pred = self.net_d(gt)
        terms['l_d_real'], _ = discriminator_losses(gan, real_pred, fake_pred, relativistic=True)
        terms['l_d_real'].backward()
        fake_pred = self.net_d(sr.detach())
        _, terms['l_d_fake'] = discriminator_losses(gan, real_pred.detach(), fake_pred, relativistic=True)
        terms['l_d_fake'].backward()
        self.optim_d.step()
        return terms


def adam(net: nn.Module, block: Mapping[str, Any]) -> torch.optim.Optimizer:
    arguments = {key: value for key, value in block.items() if key != 'type'}
    return torch.optim.Adam(net.parameters(), **arguments, foreach=False)


def artifact_map(gt: Tensor, sr: Tensor, sr_ema: Tensor, window: int = 7) -> Tensor:
    """`aesop.losses.artifact_map` with every neighbourhood laid out: 49 values a pixel."""
    residual, residual_ema = ((gt - image).abs().sum(1, keepdim=True) for image in (sr, sr_ema))
    image_level = residual.var((1, 2, 3), keepdim=True) ** 0.2
    neighbours = F.unfold(F.pad(residual, [window // 2] * 4, mode='reflect'), window)
    pixel_level = neighbours.var(1).view_as(residual)
    return torch.where(residual < residual_ema, 0, image_level * pixel_level)
