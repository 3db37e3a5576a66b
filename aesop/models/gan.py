"""The only GAN step: ESRGAN, SPSR, LDL, AESOP and their real-world forms are this step with other losses."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from aesop.archs.spsrnet import GradientMap
from aesop.errors import UserError
from aesop.losses import artifact_map
from aesop.losses.gan import discriminator_losses, generator_loss
from aesop.models.sr import SRModel
from aesop.options import Options
from aesop.registry import MODELS
from aesop.utils import distributed

NOT_RELATIVISTIC = ('SRGANModel', 'RealESRGANModel', 'AesopRealESRGANArtifactsDisModel')


class Adversary:
    """A discriminator with its loss, its optimiser and its view of an image (the identity, or a gradient map)."""

    def __init__(
        self, net: nn.Module, gan: nn.Module, optimiser: torch.optim.Optimizer, view: nn.Module, suffix: str = ''
    ) -> None:
        self.parallel = distributed.wrap(net)
        self.gan, self.optimiser, self._view, self.suffix = gan, optimiser, view, suffix

    def predict(self, gt: Tensor, sr: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of real and fake images, one pass each."""
        return self.parallel(self._view(gt)), self.parallel(self._view(sr))


@MODELS.register(
    'SRGANModel',
    'ESRGANModel',
    'ESRGANArtifactsDisModel',
    'AesopESRGANArtifactsDisModel',
    'RealESRGANModel',
    'AesopRealESRGANArtifactsDisModel',
)
class GANModel(SRModel):
    """Adversarial training of `net_g` against `net_d`. The model type decides the form: `SRGANModel` and the real-world
    ones are plain, all others compare real with fake predictions (relativistic average).

    One pass of the discriminator over gt and one over sr serve both sides: its weights do not change between the
    generator's update and its own. So its BatchNorm statistics come from one real and one fake batch an iteration,
    and spectral norm makes its power iteration twice, not five times.

    SPSR (Ma et al., CVPR 2020) adds `network_d_grad`, which sees gradient maps, and `branch_opt`, which compares the
    generator's gradient branch with the gradient map of gt.
    """

    prefix = 'l_g_'

    def _prepare_training(self, options: Options) -> None:
        super()._prepare_training(options)
        train = options.train
        self.relativistic = options.model_type not in NOT_RELATIVISTIC
        self._gradient_map = GradientMap().to(self.device)
        self._adversaries = [self._adversary('d', nn.Identity())]
        if options.network_d_grad is not None:
            self._adversaries.append(self._adversary('d_grad', self._gradient_map))
        self.net_d = self._nets['net_d']
        self._branch = self._loss('branch_opt', train.branch_opt)
        self._artifacts = self._loss('artifacts_opt', train.artifacts_opt)
        if self._artifacts is not None and self.net_g_ema is None:
            raise UserError('train.artifacts_opt compares with the EMA generator: set train.ema_decay, e.g. 0.999')

    def _adversary(self, which: str, view: nn.Module) -> Adversary:
        """The discriminator `network_<which>` with `train.optim_<which>` and its GAN loss."""
        suffix = which.removeprefix('d')
        net = self._nets[f'net_{which}'] = self._build(getattr(self.options, f'network_{which}'), which).train()
        self.runtime.compile(net)
        optimiser = self._optimiser(f'optim_{which}', getattr(self.options.train, f'optim_{which}'), net)
        key = f'gan{suffix}_opt'
        gan = self._loss(key, getattr(self.options.train, key))
        if gan is None:
            raise UserError(f'train.{key} is missing: {self.options.model_type} needs a GAN loss for network_{which}')
        return Adversary(net, gan, optimiser, view, suffix)

    def _wrapped(self) -> list[nn.Module]:
        return [self._parallel_g, *(adversary.parallel for adversary in self._adversaries)]

    def _gradients(self, lq: Tensor, gt: Tensor, sharp: Tensor, current_iter: int) -> dict[str, Tensor]:
        """The generator is trained every `net_d_iters` iterations, after the first `net_d_init_iters`; the
        discriminator in every one."""
        train = self.options.train
        train_g = current_iter % train.net_d_iters == 0 and current_iter > train.net_d_init_iters
        with torch.set_grad_enabled(train_g):
            generated = (self._parallel_g(lq),) if self._branch is None else self._parallel_g(lq, return_branch=True)

        # Every loss sees a leaf. Its gradient is collected term by term, each graph freed before the next is built,
        # and enters the generator in one backward pass.
        leaves = [image.detach().requires_grad_(train_g) for image in generated]
        sr = leaves[0]
        logs: dict[str, Tensor] = {}
        if train_g:
            for name, term in self._generator_terms(leaves, gt, sharp, lq):
                logs |= self._backward({name: term})

        real = sharp if 'gan' in self._sharpened else gt
        predictions = [adversary.predict(real, sr) for adversary in self._adversaries]
        if train_g:
            for adversary, (real_pred, fake_pred) in zip(self._adversaries, predictions):
                term = generator_loss(adversary.gan, real_pred, fake_pred, self.relativistic)
                # of sr alone, not of the discriminator
                (gradient,) = torch.autograd.grad(term, sr, self._share, retain_graph=True)
                sr.grad = gradient if sr.grad is None else sr.grad + gradient
                logs[f'l_g_gan{adversary.suffix}'] = term.detach()
            torch.autograd.backward(generated, [leaf.grad for leaf in leaves])

        for adversary, (real_pred, fake_pred) in zip(self._adversaries, predictions):
            l_d_real, l_d_fake = discriminator_losses(adversary.gan, real_pred, fake_pred, self.relativistic)
            values = self._backward({'l_d_real': l_d_real, 'l_d_fake': l_d_fake})
            values |= {'out_d_real': real_pred.detach().mean(), 'out_d_fake': fake_pred.detach().mean()}
            logs |= {name + adversary.suffix: value for name, value in values.items()}
        return logs

    def _generator_terms(
        self, leaves: list[Tensor], gt: Tensor, sharp: Tensor, lq: Tensor
    ) -> Iterator[tuple[str, Tensor]]:
        """All terms but the adversarial ones."""
        sr = leaves[0]
        yield from self._supervision(sr, gt, sharp)
        if self._branch is not None:
            yield 'l_g_branch', self._branch(leaves[1], self._gradient_map(gt))
        if self._artifacts is not None:
            with torch.no_grad():
                sr_ema = self.net_g_ema(lq)
            artifacts = artifact_map(gt, sr, sr_ema)
            yield 'l_g_artifacts', self._artifacts(artifacts * sr, artifacts * gt)
