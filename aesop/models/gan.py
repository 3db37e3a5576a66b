"""The only GAN step: ESRGAN, LDL and AESOP are this step with other losses in the options."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from aesop import distributed
from aesop.errors import UserError
from aesop.losses import artifact_map
from aesop.losses.gan import discriminator_losses, generator_loss
from aesop.models.sr import SRModel
from aesop.options import Options
from aesop.registry import MODELS

NOT_RELATIVISTIC = ('SRGANModel',)


@MODELS.register('SRGANModel', 'ESRGANModel', 'ESRGANArtifactsDisModel', 'AesopESRGANArtifactsDisModel')
class GANModel(SRModel):
    """Adversarial training of `net_g` against `net_d`. The model type decides the form: `SRGANModel` is the plain one,
    all others compare real with fake predictions (relativistic average).

    One pass of the discriminator over gt and one over sr serve both sides: its weights do not change between the
    generator's update and its own. So its BatchNorm statistics come from one real and one fake batch an iteration.
    """

    prefix = 'l_g_'

    def _prepare_training(self, options: Options) -> None:
        super()._prepare_training(options)
        train = options.train
        self.relativistic = options.model_type not in NOT_RELATIVISTIC
        self.net_d = self._nets['net_d'] = self._build(options.network_d, 'd').train()
        self._parallel_d = distributed.wrap(self.net_d)
        self.optim_d = self._optimiser('optim_d', train.optim_d, self.net_d)
        if train.gan_opt is None:
            raise UserError(f'train.gan_opt is missing: {options.model_type} needs a GAN loss')
        self._gan = self._loss('gan_opt', train.gan_opt)
        self._artifacts = self._loss('artifacts_opt', train.artifacts_opt)
        if self._artifacts is not None and self.net_g_ema is None:
            raise UserError('train.artifacts_opt compares with the EMA generator: set train.ema_decay, e.g. 0.999')

    def step(self, batch: dict[str, Any], current_iter: int) -> dict[str, Tensor]:
        """As `SRModel.step`. The generator is trained every `net_d_iters` iterations, after the first
        `net_d_init_iters`; the discriminator in every one."""
        self._set_learning_rates(current_iter)
        train = self.options.train
        train_g = current_iter % train.net_d_iters == 0 and current_iter > train.net_d_init_iters
        lq, gt = self._inputs(batch)
        with torch.set_grad_enabled(train_g):
            generated = self._parallel_g(lq)

        # Every loss sees a leaf. Its gradient is collected term by term, each graph freed before the next is built,
        # and enters the generator in one backward pass.
        sr = generated.detach().requires_grad_(train_g)
        logs: dict[str, Tensor] = {}
        if train_g:
            for name, term in self._supervision_with_artifacts(sr, gt, lq):
                term.backward()
                logs[name] = term.detach()

        real_pred, fake_pred = self._parallel_d(gt), self._parallel_d(sr)
        if train_g:
            l_g_gan = generator_loss(self._gan, real_pred, fake_pred, self.relativistic)
            logs['l_g_gan'] = l_g_gan.detach()
            (gradient,) = torch.autograd.grad(l_g_gan, sr, retain_graph=True)
            gradient = gradient if sr.grad is None else gradient + sr.grad
            self.optim_g.zero_grad(set_to_none=True)
            generated.backward(gradient)
            self.optim_g.step()

        l_d_real, l_d_fake = discriminator_losses(self._gan, real_pred, fake_pred, self.relativistic)
        self._descend(self.optim_d, l_d_real + l_d_fake)
        self._update_ema()
        logs |= {'l_d_real': l_d_real, 'l_d_fake': l_d_fake}
        logs |= {'out_d_real': real_pred.mean(), 'out_d_fake': fake_pred.mean()}
        return {name: value.detach() for name, value in logs.items()}

    def _supervision_with_artifacts(self, sr: Tensor, gt: Tensor, lq: Tensor) -> Iterator[tuple[str, Tensor]]:
        yield from self._supervision(sr, gt)
        if self._artifacts is not None:
            with torch.no_grad():
                sr_ema = self.net_g_ema(lq)
            artifacts = artifact_map(gt, sr, sr_ema)
            yield 'l_g_artifacts', self._artifacts(artifacts * sr, artifacts * gt)
