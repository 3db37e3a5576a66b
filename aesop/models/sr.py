"""The PSNR-oriented model, and what every model shares: weights, optimiser, schedule, EMA, state."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from aesop.archs import build_network
from aesop.errors import UserError, at
from aesop.losses import build_loss
from aesop.models.gradient_step import Descent, build_optimiser, load_state
from aesop.models.precision import Runtime
from aesop.models.schedules import build_schedule
from aesop.options import Options
from aesop.registry import MODELS
from aesop.utils import checkpoint, distributed

State = dict[str, Any]
OTHER_RUN = (
    'It is of another run: go on with the options of that one, or start from its weights with path.pretrain_network_g'
)
PARTS = {
    'network_g': ('net_g', 'net_g_ema', 'optim_g'),
    'network_d': ('net_d', 'optim_d'),
    'network_d_grad': ('net_d_grad', 'optim_d_grad'),
}


@MODELS.register('RealESRNetModel')
class SRModel:
    """Trains `net_g` with a pixel loss (and, where the options have them, further losses): the PSNR-oriented model.

    Attributes:
        net_g: the generator, as a plain module. Gradients are shared over ranks through a DDP wrapper kept apart.
        net_g_ema: exponential moving average of `net_g` (`train.ema_decay`), or None.
        net_d: the discriminator of a GAN model, or None.
        condition: which entry of a batch the network takes: 'lq', or 'gt' for the auto-encoder.
        grad_norms: by optimiser, the length of the gradient that it took in the last step, before any clipping.
        skipped: 1 where a loss term or a gradient of the last step was not finite, on any rank, so that the step
            changed nothing; else 0. A scalar on the device, as the norms are: to look at it waits for the GPU.
    """

    condition = 'lq'
    prefix = 'l_'
    net_d: nn.Module | None = None

    def __init__(self, options: Options, device: torch.device) -> None:
        self.options = options
        self.device = device
        self.runtime = Runtime(options, device)
        self.net_g = self._build(options.network_g, 'g')
        self.net_g_ema: nn.Module | None = None
        self._nets: dict[str, nn.Module] = {'net_g': self.net_g}
        self._optimisers: dict[str, torch.optim.Optimizer] = {}
        if options.train is None:
            self.net_g.requires_grad_(False).eval()
        else:
            self._prepare_training(options)

    def _build(self, block: dict[str, Any] | None, which: str) -> nn.Module:
        """The network of an option block on this device, with the weights that `path` names for it."""
        if block is None:
            raise UserError(f'network_{which} is missing: {self.options.model_type} needs one')
        with at(f'network_{which}'):
            net = build_network(block)
        path = getattr(self.options.path, f'pretrain_network_{which}')
        if path is not None:
            key, strict = (getattr(self.options.path, f'{name}_{which}') for name in ('param_key', 'strict_load'))
            with at(f'path.pretrain_network_{which}'):
                checkpoint.load_network(net, path, key, strict)
        return self.runtime.prepare(net)

    def _prepare_training(self, options: Options) -> None:
        train = options.train
        self.net_g.train()
        self._descent = Descent(self.device, train.grad_clip_norm, self.runtime.scales_losses)
        # From here on every rank has rank 0's weights.
        self._parallel_g = distributed.wrap(self.net_g, options.find_unused_parameters)
        if train.ema_decay > 0:
            self.net_g_ema = self._nets['net_g_ema'] = deepcopy(self.net_g).requires_grad_(False).eval()
        for net in (self.net_g, self.net_g_ema):
            self.runtime.compile(net)
        self._schedule = build_schedule(train.scheduler, train.warmup_iter)
        self.optim_g = self._optimiser('optim_g', train.optim_g, self.net_g)
        named = {'pix': 'pixel_opt', 'aesop': 'aesop_opt', 'percep': 'perceptual_opt'}
        losses = {name: self._loss(key, getattr(train, key)) for name, key in named.items()}
        losses |= {name: self._loss(f'losses.{name}', block) for name, block in train.losses.items()}
        self.losses = {name: loss for name, loss in losses.items() if loss is not None}
        # Real-ESRNet's option file says `gt_usm` for both what is degraded and what the pixel loss aims at.
        pixel = options.gt_usm if options.l1_gt_usm is None else options.l1_gt_usm
        aims = {'pix': pixel, 'percep': options.percep_gt_usm, 'gan': options.gan_gt_usm}
        self._sharpened = {name for name, sharpened in aims.items() if sharpened}

    def _loss(self, key: str, block: dict[str, Any] | None) -> nn.Module | None:
        """The loss of the block `train.<key>`, None where there is none."""
        if block is None:
            return None
        with at(f'train.{key}'):
            return self.runtime.prepare_loss(build_loss(block))

    def _optimiser(self, name: str, block: dict[str, Any] | None, net: nn.Module) -> torch.optim.Optimizer:
        if block is None:
            raise UserError(f'train.{name} is missing: name an optimiser of torch.optim, e.g. {{type: Adam, lr: 1e-4}}')
        if not any(parameter.requires_grad for parameter in net.parameters()):
            raise UserError(f'train.{name}: {type(net).__name__} has nothing to train; name another network')
        optimiser = self._optimisers[name] = build_optimiser(block, net.parameters())
        return optimiser

    def step(self, batch: dict[str, Any], current_iter: int) -> dict[str, Tensor]:
        """One optimisation step.

        All gradients come first. Where a loss term or one of them is not finite, nothing is changed by the step.

        Args:
            batch: 'lq' (N, 3, h, w) and 'gt' (N, 3, H, W), RGB in [0, 1], on any device; real-world training adds
                'gt_usm', the sharpened ground truth. N is a multiple of `train.accumulate`.
            current_iter: number of this iteration, from 1; decides learning rates and what is trained.

        Returns:
            Detached scalars on the device: each loss term, weighted as it enters the total; means over micro-batches.
        """
        self._set_learning_rates(current_iter)
        self.runtime.begin_step()
        self._descent.begin(self._optimisers, [net for name, net in self._nets.items() if name != 'net_g_ema'])
        parts = split(batch, self.options.train.accumulate)
        self._share = self._descent.loss_scale / len(parts)
        terms = []
        for number, part in enumerate(parts, 1):
            with distributed.no_sync(self._wrapped() if number < len(parts) else []):
                terms.append(self._gradients(*self._inputs(part), current_iter))
        means = {name: sum(term[name] for term in terms) / len(terms) for name in terms[0]}
        self._update_ema(self._descent.end(means))
        return means

    @property
    def grad_norms(self) -> dict[str, Tensor]:
        return self._descent.grad_norms

    @property
    def skipped(self) -> Tensor:
        return self._descent.skipped

    def _wrapped(self) -> list[nn.Module]:
        """The networks whose gradients are averaged over ranks."""
        return [self._parallel_g]

    def _gradients(self, lq: Tensor, gt: Tensor, sharp: Tensor, current_iter: int) -> dict[str, Tensor]:
        """Adds this micro-batch's share to the gradients of whatever is trained; returns the detached loss terms."""
        return self._backward(dict(self._supervision(self._parallel_g(lq), gt, sharp)))

    def _backward(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        sum(terms.values()).backward(self._share)
        return {name: term.detach() for name, term in terms.items()}

    def predict(self, lq: Tensor, **conditions: Any) -> Tensor:
        """The network's output for (N, 3, h, w) in [0, 1], from the EMA weights where there are any. Not clamped."""
        net = self.net_g if self.net_g_ema is None else self.net_g_ema
        training = net.training
        with self.runtime.validating():
            sr = net.eval()(self.runtime.lay_out(lq), **conditions)
        net.train(training)
        return sr

    @property
    def learning_rates(self) -> dict[str, float]:
        return {name: optimiser.param_groups[0]['lr'] for name, optimiser in self._optimisers.items()}

    def network_states(self) -> dict[str, dict[str, State]]:
        """Weights to publish, by file stem: {'net_g': {'params': ..., 'params_ema': ...}, 'net_d': {...}}."""
        states = {'net_g': {'params': checkpoint.network_state_dict(self.net_g)}}
        if self.net_g_ema is not None:
            states['net_g']['params_ema'] = checkpoint.network_state_dict(self.net_g_ema)
        others = self._nets.keys() - {'net_g', 'net_g_ema'}
        return states | {name: {'params': checkpoint.network_state_dict(self._nets[name])} for name in others}

    def state_dict(self) -> State:
        """Everything that training changes: networks, EMA, optimisers, and with fp16 the loss scale. Schedules are
        functions of the iteration."""
        optimisers = {
            name: {'type': type(optimiser).__name__, 'state': optimiser.state_dict()['state']}
            for name, optimiser in self._optimisers.items()
        }
        scale = {'loss_scale': self._descent.state_dict()} if self.runtime.scales_losses else {}
        return {name: net.state_dict() for name, net in self._nets.items()} | optimisers | scale

    def load_state_dict(self, state: State, keep: Sequence[str] = ()) -> None:
        """Goes back to a state of `state_dict`.

        Args:
            keep: 'network_g', 'network_d': these keep the weights they have, and start with a fresh optimiser; the
                state need not hold them.

        Raises:
            UserError: it is the state of another model.
        """
        kept = {part for network in keep for part in PARTS[network]}
        nets, optimisers = ({k: v for k, v in all_.items() if k not in kept} for all_ in (self._nets, self._optimisers))
        needed, given = nets.keys() | optimisers.keys(), state.keys() - kept - {'loss_scale'}
        if needed != given:
            raise UserError(f'the state holds {sorted(given)}, this model needs {sorted(needed)}. {OTHER_RUN}')
        for name, net in nets.items():
            wrong = checkpoint.differences(state[name], {key: t.shape for key, t in net.state_dict().items()})
            if wrong:
                raise UserError(f'the state is of another network than this {name}: {wrong}. {OTHER_RUN}')
            net.load_state_dict(state[name])
        for name, optimiser in optimisers.items():
            kind = type(optimiser).__name__
            if state[name]['type'] != kind:
                raise UserError(f'{name} was {state[name]["type"]}, and now it is {kind}. {OTHER_RUN}')
            load_state(optimiser, state[name]['state'])
        if self.runtime.scales_losses and 'loss_scale' in state:
            self._descent.load_state_dict(state['loss_scale'])

    def _inputs(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """lq, gt and, where there is one, the sharpened gt (else gt again), on the device."""
        lq, gt = (self.runtime.lay_out(batch[name]) for name in ('lq', 'gt'))
        return lq, gt, self.runtime.lay_out(batch['gt_usm']) if 'gt_usm' in batch else gt

    def _supervision(self, sr: Tensor, gt: Tensor, sharp: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The generator's loss terms, one after the other, so that the caller may free each before the next."""
        for name, loss in self.losses.items():
            value = loss(sr, sharp if name in self._sharpened else gt)
            named = value if isinstance(value, dict) else {name: value}
            yield from ((self.prefix + key, term) for key, term in named.items())

    def _set_learning_rates(self, current_iter: int) -> None:
        for optimiser in self._optimisers.values():
            for group in optimiser.param_groups:
                base = group.setdefault('initial_lr', group['lr'])
                group['lr'] = self._schedule(base, current_iter - 1)

    @torch.no_grad()
    def _update_ema(self, taken: Tensor) -> None:
        """`taken`: 1, or 0 where nothing shall change."""
        if self.net_g_ema is None:
            return
        means, now = list(self.net_g_ema.parameters()), list(self.net_g.parameters())
        weight = taken * (1 - self.options.train.ema_decay)
        if self.device.type == 'cpu':
            torch._foreach_lerp_(means, now, weight.item())
        else:  # the same with a weight that the host does not know
            change = torch._foreach_sub(now, means)
            torch._foreach_mul_(change, weight)
            torch._foreach_add_(means, change)
        for mean, current in zip(self.net_g_ema.buffers(), self.net_g.buffers()):
            mean.copy_(current)


def split(batch: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """`batch` in `count` equal micro-batches: the tensors are cut along their first dimension, all else is left out."""
    if count == 1:
        return [batch]
    tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
    samples = len(tensors['gt'])
    if samples % count:
        raise UserError(f'train.accumulate: a batch of {samples} samples does not make {count} equal micro-batches')
    parts = {name: value.split(samples // count) for name, value in tensors.items()}
    return [{name: part[number] for name, part in parts.items()} for number in range(count)]
