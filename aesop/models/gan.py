"""The GAN training step, shared by ESRGAN, SPSR, LDL, AESOP, CAL-GAN and their real-world variants."""

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from pydantic.fields import FieldInfo
from torch import Tensor, nn

from aesop.errors import UserError, error_context
from aesop.losses import build_loss
from aesop.losses.gan import discriminator_losses, generator_loss, mean_prediction
from aesop.models.quantities import Quantities
from aesop.models.sr import SRModel
from aesop.options import schema as options_schema
from aesop.options.schema import Count, Loss, Optimizer, Positive, Scheduler, about_loss, loss_key
from aesop.registry import MODELS
from aesop.utils import distributed


class DiscriminatorBranch:
    """A discriminator with its loss, its optimiser and the two quantities it compares, a fake and a real one.

    A discriminator returns logits, or a dict: `logits`; `losses`, its own loss terms by name, taken from the pass over
    real images; `for_sr`, further arguments of the pass over fake images; `monitor`, values to be logged; and anything
    that the generator's losses read as `real_<name>` and `fake_<name>`.
    """

    def __init__(
        self, net: nn.Module, gan: Any, optimiser: torch.optim.Optimizer, of: tuple[str, str], suffix: str
    ) -> None:
        self.parallel = distributed.wrap_ddp(net)
        self.gan, self.optimiser, self.of, self.suffix = gan, optimiser, of, suffix


def outputs(prediction: Any) -> dict[str, Any]:
    """A discriminator's outputs by name."""
    return dict(prediction) if isinstance(prediction, Mapping) else {'logits': prediction}


@MODELS.register(
    'SRGANModel',
    'ESRGANModel',
    'ESRGANArtifactsDisModel',
    'AesopESRGANArtifactsDisModel',
    'RealESRGANModel',
    'AesopRealESRGANArtifactsDisModel',
)
class GANModel(SRModel):
    """Adversarial training of `net_g` against `net_d`, and any number of further discriminators `network_d_<name>`.

    Both updates share one discriminator pass over real images and one over fake ones, since its weights do not change
    between the generator's update and its own. BatchNorm statistics thus come from one real and one fake batch per
    iteration, and spectral norm runs its power iteration twice instead of five times.

    SPSR (Ma et al., CVPR 2020) is `network_d_grad`, which takes gradient maps, and `branch_opt`, which compares the
    generator's gradient branch with the gradient map of gt.
    """

    class Train(SRModel.Train):
        optim_d: Optimizer | None = Field(None, description='Optimiser of the discriminator.')
        optim_d_grad: Optimizer | None = Field(None, description='Optimiser of network_d_grad.')
        scheduler_d: Scheduler | None = Field(
            None, description='Schedule of the discriminators; default: that of `scheduler`.'
        )
        gan_opt: Loss | None = loss_key('gan', 'Adversarial loss.', ['sr', 'gt'], adversarial=True)
        gan_grad_opt: Loss | None = loss_key(
            'gan_grad', 'Adversarial loss of network_d_grad.', ['sr_grad', 'gt_grad'], adversarial=True
        )
        artifacts_opt: Loss | None = loss_key('artifacts', "LDL's artifact loss; needs ema_decay.")
        branch_opt: Loss | None = loss_key(
            'branch', "Loss of SPSRNet's gradient branch against the gradient map of the ground truth.",
            ['branch', 'gt_grad'],
        )  # fmt: skip
        net_d_iters: Positive = Field(1, description='The generator is trained every net_d_iters iterations.')
        net_d_init_iters: Count = Field(
            0, description='Iterations at the start in which only the discriminator is trained.'
        )

    networks = SRModel.networks | {'d': 'discriminator', 'd_grad': 'discriminator of gradient maps (SPSR)'}
    prefix = 'l_g_'

    @classmethod
    def network_names(cls, data: Mapping[str, Any]) -> dict[str, str]:
        found = [str(key).removeprefix('network_') for key in data if str(key).startswith('network_d_')]
        return cls.networks | {name: f'discriminator {name}' for name in found if name not in cls.networks}

    @classmethod
    def network_keys(cls, networks: Mapping[str, str]) -> dict[str, tuple[Any, FieldInfo]]:
        gans = {f'gan{n[1:]}_opt': (Loss | None, loss_key(f'gan{n[1:]}', f'Adversarial loss of network_{n}.',
                ['sr', 'gt'], adversarial=True)) for n in networks if n.startswith('d')}  # fmt: skip
        return super().network_keys(networks) | gans

    @classmethod
    def needed(cls, mode: str) -> list[str]:
        return [*super().needed(mode), *(['network_d', 'train.optim_d', 'train.gan_opt'] if mode == 'train' else [])]

    def _prepare_training(self, train: options_schema.Train) -> None:
        super()._prepare_training(train)
        names = [name for name in self.network_names(dict(self.options)) if name.startswith('d')]
        self._branches = [
            self._branch(name) for name in names if name == 'd' or getattr(self.options, f'network_{name}') is not None
        ]
        self.net_d = self._nets['net_d']
        adversarial = tuple(f'{kind}{branch.suffix}_' for branch in self._branches for kind in ('real', 'fake'))
        self._adversarial = [term for term in self.terms if any(name.startswith(adversarial) for name in term.reads)]
        self._direct = [term for term in self.terms if term not in self._adversarial]

    def _branch(self, which: str) -> DiscriminatorBranch:
        """The discriminator `network_<which>` with `train.optim_<which>` and its GAN loss."""
        suffix = which.removeprefix('d')
        net = self._build(which).train()
        self.precision.compile(net)
        optimiser = self._optimiser(which, net, self.options.training.scheduler_d)
        key = f'gan{suffix}_opt'
        block = getattr(self.options.training, key)
        if block is None:
            raise UserError(f'train.{key} is missing: {self.options.model_type} needs a GAN loss for network_{which}')
        with error_context(f'train.{key}'):
            gan = build_loss(block).to(self.device)
        fake, real = block.of or about_loss(type(self.options.training).model_fields[key])['of']
        return DiscriminatorBranch(net, gan, optimiser, (fake, real), suffix)

    def _wrapped(self) -> list[nn.Module]:
        return [self._parallel_g, *(branch.parallel for branch in self._branches)]

    def _gradients(self, quantities: Quantities, current_iter: int) -> dict[str, Tensor]:
        """The generator is trained every `net_d_iters` iterations, after the first `net_d_init_iters`; the
        discriminators in every one."""
        train: GANModel.Train = self.options.training
        train_g = current_iter % train.net_d_iters == 0 and current_iter > train.net_d_init_iters
        with torch.set_grad_enabled(train_g):
            self._generate(quantities)
        logs = self._supervise(self._direct, quantities) if train_g else {}
        # First, because quantities derived from an image accumulate gradients of their own.
        seen = [[quantities[name] for name in branch.of] for branch in self._branches]
        predictions = [self._discriminate(branch, *images) for branch, images in zip(self._branches, seen)]
        if train_g:
            logs |= self._adversarial_terms(predictions, quantities, seen)
            quantities.backward()
        for branch, (real, fake) in zip(self._branches, predictions):
            logs |= self._train_discriminator(branch, real, fake)
        return logs

    def _discriminate(
        self, branch: DiscriminatorBranch, fake: Tensor, real: Tensor
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The discriminator's outputs for real and for fake images, one pass each."""
        of_real = outputs(self.precision.call(branch.parallel, real))
        return of_real, outputs(self.precision.call(branch.parallel, fake, **of_real.get('for_sr', {})))

    def _adversarial_terms(
        self, predictions: list[tuple[dict[str, Any], dict[str, Any]]], quantities: Quantities, seen: list[list[Tensor]]
    ) -> dict[str, Tensor]:
        """The generator's loss terms that depend on discriminators, differentiated with respect to the images, not
        the discriminators' weights."""
        terms: dict[str, Tensor] = {}
        known: dict[str, Any] = dict.fromkeys(quantities)
        for branch, (real, fake) in zip(self._branches, predictions):
            terms[f'l_g_gan{branch.suffix}'] = generator_loss(
                branch.gan, real['logits'], fake['logits'], branch.gan.relativistic
            )
            known |= {f'{kind}{branch.suffix}_{name}': value
                      for kind, said in (('real', real), ('fake', fake)) for name, value in said.items()}  # fmt: skip
        for term in self._adversarial:
            values = term({name: quantities[name] if name in quantities else known[name] for name in term.reads})
            terms |= {self.prefix + name: value for name, value in values.items()}
        images = [fake for fake, _ in seen]
        for value in terms.values():
            found = torch.autograd.grad(value, images, self._share, retain_graph=True, allow_unused=True)
            for image, gradient in zip(images, found):
                if gradient is not None:
                    image.grad = gradient if image.grad is None else image.grad + gradient
        return {name: value.detach() for name, value in terms.items()}

    def _train_discriminator(
        self, branch: DiscriminatorBranch, real: dict[str, Any], fake: dict[str, Any]
    ) -> dict[str, Tensor]:
        """The discriminator's losses and gradients."""
        draw_labels = getattr(branch.gan, 'draw_labels', None)
        if draw_labels is not None:
            draw_labels()
        sides = discriminator_losses(branch.gan, real['logits'], fake['logits'], branch.gan.relativistic)
        own = {f'l_d_{name}': value for name, value in real.get('losses', {}).items()}
        values = self._backward(dict(zip(('l_d_real', 'l_d_fake'), sides)) | own)
        values |= {f'out_d_{kind}': mean_prediction(said['logits']) for kind, said in (('real', real), ('fake', fake))}
        values |= {f'd_{name}': value.detach() for name, value in real.get('monitor', {}).items()}
        return {name + branch.suffix: value for name, value in values.items()}
