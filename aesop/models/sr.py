"""The PSNR-oriented model, base class of all models: weights, losses, optimisers, schedule, EMA, state."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from aesop.archs import build_network
from aesop.archs.spsrnet import GradientMap
from aesop.data.degradation.blur import usm_sharpen
from aesop.errors import UserError, error_context
from aesop.losses import build_loss
from aesop.losses.pixel import total
from aesop.models.dry_run import Problem, dry_run, loss_blocks
from aesop.models.extra_optimisers import average_weights, group_state, load_group_state
from aesop.models.gradient_step import GradientStep, build_optimiser, load_state
from aesop.models.precision import Precision
from aesop.models.quantities import Quantities, Term, named, network_inputs, reads
from aesop.models.schedules import Schedule, build_schedule
from aesop.options import Options
from aesop.options import schema as options_schema
from aesop.options.schema import Loss, Optimizer, Scheduler, loss_key
from aesop.registry import MODELS
from aesop.utils import checkpoint, distributed

State = dict[str, Any]
OTHER_RUN = (
    'It belongs to another run: use the options of that run, or start from its weights with path.pretrain_network_g'
)


@MODELS.register('RealESRNetModel')
class SRModel:
    """Trains `net_g` with a pixel loss and any further losses in the options: the PSNR-oriented model.

    Other models are subclasses that declare their networks and the keys of their `train` block; checks of option files,
    checkpoints and resuming follow from that.

    Attributes:
        networks: descriptions of the networks by name: 'g' is `network_g`, trained by `train.optim_g`.
        parts: submodules of `net_g` that can be initialised from their own weights (`path.pretrain_network_<part>`).
        inputs: quantities that `net_g` takes; None: the `inputs` of its class, by default `lq`.
        prefix: prefix of the generator's loss terms.
        net_g: the generator, as a plain module. Gradients are averaged over ranks by a separate DDP wrapper.
        net_g_ema: exponential moving average of `net_g` (`train.ema_decay`), or None.
        net_d: the discriminator of a GAN model, or None.
        terms: the generator's losses, with the quantities they read.
        grad_norms: by optimiser, the gradient norm of the last step, before clipping.
        skipped: 1 if a loss term or a gradient of the last step was not finite on any rank, so that the step was
            skipped; else 0. A scalar on the device, like the norms: reading it synchronises with the GPU.
    """

    class Train(options_schema.Train):
        pixel_opt: Loss | None = loss_key('pix', 'Pixel loss.')
        aesop_opt: Loss | None = loss_key('aesop', 'L_AESOP: the distance of AE(sr) and AE(gt).')
        perceptual_opt: Loss | None = loss_key('percep', 'Perceptual (and style) loss.')

    networks: ClassVar[dict[str, str]] = {'g': 'generator, or the auto-encoder'}
    parts: ClassVar[tuple[str, ...]] = ()
    inputs: ClassVar[tuple[str, ...] | None] = None
    prefix: ClassVar[str] = 'l_'
    net_d: nn.Module | None = None

    # Declarations, available before the model is built

    @classmethod
    def network_names(cls, data: Mapping[str, Any]) -> dict[str, str]:
        """The networks that an option file with this content may have."""
        return cls.networks

    @classmethod
    def network_keys(cls, networks: Mapping[str, str]) -> dict[str, Any]:
        """Train keys of the networks, in addition to those in `Train`."""
        return {f'optim_{n}': (Optimizer | None, Field(None, description=f'Optimiser of network_{n}.'))
                for n in networks}  # fmt: skip

    @classmethod
    def needed(cls, mode: str) -> list[str]:
        """Keys required by a run of `mode`, 'train' or 'test'."""
        run = ['name', 'model_type', 'scale', 'network_g']
        data = ['datasets.train', 'datasets.train.batch_size_per_gpu', 'datasets.train.gt_size']
        return run if mode == 'test' else [*run, *data, 'train.total_iter', 'train.optim_g']

    @classmethod
    def check(cls, options: Options) -> list[Problem]:
        """Returns what does not fit together, found by a dry run on the `meta` device."""
        return dry_run(cls, options)

    # Building

    def __init__(self, options: Options, device: torch.device, chosen: Mapping[str, str] | None = None) -> None:
        self.options = options
        self.device = device
        self.precision = Precision(options, device, chosen)
        self._nets: dict[str, nn.Module] = {}
        self._optimisers: dict[str, torch.optim.Optimizer] = {}
        self.net_g = self._build('g')
        self.net_g_ema: nn.Module | None = None
        self._inputs = self.inputs or getattr(self.net_g, 'inputs', ('lq',))
        if options.train is None:
            self.net_g.requires_grad_(False).eval()
        else:
            self._prepare_training(options.train)

    def _build(self, which: str) -> nn.Module:
        """Builds `network_<which>` on this device and loads its pretrained weights from `path`."""
        block, path = getattr(self.options, f'network_{which}'), self.options.path
        if block is None:
            raise UserError(f'network_{which} is missing: {self.options.model_type} needs one')
        with error_context(f'network_{which}'):
            net = build_network(block)
        starts = {which: net} | ({part: getattr(net, part) for part in self.parts} if which == 'g' else {})
        for name, started in starts.items():
            file, key, strict = path.weights(name)
            if file is not None:
                with error_context(f'path.pretrain_network_{name}'):
                    checkpoint.load_network(started, file, key, strict)
        net = self._nets[f'net_{which}'] = self.precision.prepare(net)
        return net

    def _prepare_training(self, train: options_schema.Train) -> None:
        self.net_g.train()
        self._gradient_step = GradientStep(self.device, train.grad_clip_norm, self.precision.scales_losses)
        # DDP broadcasts rank 0's weights.
        self._parallel_g = distributed.wrap_ddp(self.net_g, self.options.find_unused_parameters)
        if train.ema_decay > 0:
            self.net_g_ema = self._nets['net_g_ema'] = deepcopy(self.net_g).requires_grad_(False).eval()
        for net in (self.net_g, self.net_g_ema):
            self.precision.compile(net)
        self._schedules: dict[str, Schedule] = {}
        self.optim_g = self._optimiser('g', self.net_g)
        self.terms = [
            Term(name, key, self.precision.prepare_loss(loss), read) for name, key, loss, read in loss_terms(train)
        ]
        read = {name for term in self.terms for name in term.reads}
        optional_outputs = getattr(self.net_g, 'optional_outputs', ())
        self._also = tuple(name for name in optional_outputs if {name, f'{name}_ema'} & read)
        self._gradient_map = GradientMap().to(self.device)

    def _optimiser(self, which: str, net: nn.Module, scheduler: Scheduler | None = None) -> torch.optim.Optimizer:
        """`train.optim_<which>`, whose learning rates follow `scheduler`, or `train.scheduler` where that is None."""
        name, train = f'optim_{which}', self.options.training
        block = getattr(train, name)
        if block is None:
            raise UserError(f'train.{name} is missing: set an optimiser of torch.optim, e.g. {{type: Adam, lr: 1e-4}}')
        if not any(parameter.requires_grad for parameter in net.parameters()):
            raise UserError(f'train.{name}: {type(net).__name__} has no trainable parameters; choose another network')
        self._schedules[name] = build_schedule(scheduler or train.scheduler, train.warmup_iter)
        optimiser = self._optimisers[name] = build_optimiser(block, net.parameters())
        return optimiser

    # Training

    def step(self, batch: Mapping[str, Any], current_iter: int) -> dict[str, Tensor]:
        """One optimisation step.

        All gradients are computed first. If a loss term or a gradient is not finite, the step is skipped.

        Args:
            batch: tensors by name, on any device: 'lq' (N, 3, h, w) and 'gt' (N, 3, H, W), RGB in [0, 1], and whatever
                else networks and losses read. N is a multiple of `train.accumulate`.
            current_iter: number of this iteration, from 1; determines learning rates and what is trained.

        Returns:
            Detached scalars on the device: the weighted loss terms, averaged over micro-batches.
        """
        self._set_learning_rates(current_iter)
        self.precision.begin_step()
        trained = [net for name, net in self._nets.items() if name != 'net_g_ema']
        self._gradient_step.begin(self._optimisers, trained)
        parts = split(batch, self.options.training.accumulate)
        self._share = self._gradient_step.loss_scale / len(parts)
        terms = []
        for number, part in enumerate(parts, 1):
            with distributed.no_sync(self._wrapped() if number < len(parts) else []):
                quantities = Quantities(part, self.precision.to_device, self._derive)
                terms.append(self._gradients(quantities, current_iter))
        means = {name: total(term[name] for term in terms) / len(terms) for name in terms[0]}
        self._update_ema(self._gradient_step.end(means))
        return means

    @property
    def grad_norms(self) -> dict[str, Tensor]:
        return self._gradient_step.grad_norms

    @property
    def skipped(self) -> Tensor:
        return self._gradient_step.skipped

    @property
    def losses(self) -> dict[str, nn.Module]:
        """The generator's losses by name."""
        return {term.name: term.loss for term in self.terms}

    def _wrapped(self) -> list[nn.Module]:
        """The networks whose gradients are averaged over ranks."""
        return [self._parallel_g]

    def _gradients(self, quantities: Quantities, current_iter: int) -> dict[str, Tensor]:
        """Accumulates the gradients of this micro-batch; returns the detached loss terms."""
        self._generate(quantities)
        logs = self._supervise(self.terms, quantities)
        quantities.backward()
        return logs

    def _generate(self, quantities: Quantities) -> None:
        """Runs the generator and adds its outputs to the quantities."""
        also = {'also': self._also} if self._also else {}
        inputs = network_inputs(self.net_g, self._inputs, quantities)
        quantities.add(named(self.precision.call(self._parallel_g, **inputs, **also)))

    def _supervise(self, terms: Sequence[Term], quantities: Quantities) -> dict[str, Tensor]:
        """Computes each loss, differentiates it with respect to what it reads, and frees it before the next."""
        logs = {}
        for term in terms:
            values = {self.prefix + name: value for name, value in term(quantities).items()}
            logs |= self._backward(values)
        return logs

    def _backward(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        loss = total(terms.values())
        if loss.requires_grad:
            loss.backward(self._share)
        return {name: term.detach() for name, term in terms.items()}

    def _derive(self, name: str, quantities: Quantities) -> Any:
        """Computes a derived quantity: see `aesop.models.quantities`."""
        source, _, kind = name.rpartition('_')
        if kind == 'ema' and self.net_g_ema is not None:
            also = {'also': self._also} if self._also else {}
            with torch.no_grad():
                inputs = network_inputs(self.net_g_ema, self._inputs, quantities)
                outputs = named(self.precision.call(self.net_g_ema, **inputs, **also))
            quantities.add({f'{other}_ema': value for other, value in outputs.items()})
            return outputs[source]
        if kind == 'grad':
            return self._gradient_map(quantities[source])
        if kind == 'usm':
            return usm_sharpen(quantities[source])
        raise UserError(f'a loss reads {name}, which nothing provides; the batch has {", ".join(quantities)}')

    def _set_learning_rates(self, current_iter: int) -> None:
        for name, optimiser in self._optimisers.items():
            for group in optimiser.param_groups:
                base = group.setdefault('initial_lr', group['lr'])
                group['lr'] = self._schedules[name](base, current_iter - 1)

    @torch.no_grad()
    def _update_ema(self, taken: Tensor) -> None:
        """`taken`: 1, or 0 to leave it unchanged. (torch.optim.swa_utils has no such flag.)"""
        if self.net_g_ema is None:
            return
        weight = taken * (1 - self.options.training.ema_decay)
        step: float | Tensor = weight.item() if self.device.type == 'cpu' else weight  # on a GPU, without a sync
        for mean, now in zip(self.net_g_ema.parameters(), self.net_g.parameters()):
            mean.lerp_(now, step)
        for mean, now in zip(self.net_g_ema.buffers(), self.net_g.buffers()):
            mean.copy_(now)

    # Prediction

    def predict(self, batch: Mapping[str, Any] | Tensor, solutions: Sequence[Mapping[str, Any]] = ()) -> Any:
        """Runs inference on a batch, with the EMA weights if there are any.

        Args:
            batch: tensors by name, as for `step`; or just the network's first input, (N, 3, h, w) in [0, 1].
            solutions: for each of several solutions, its own batch entries (e.g. `ref`) and, in `seeds`, a tuple of
                integers per image that seeds a stochastic network's noise.

        Returns:
            The outputs by name, not clamped: `sr` (N, 3, H, W) of the first solution and, with `solutions`, `samples`
            (N, S, 3, H, W). For a single tensor, just `sr`.
        """
        if isinstance(batch, Tensor):
            return self.predict({self._inputs[0]: batch}, solutions)['sr']
        net = self.net_g if self.net_g_ema is None else self.net_g_ema
        training = net.training
        net.eval()
        with average_weights(self._optimisers.values()), self.precision.validating():
            outputs = [self._outputs(net, {**batch, **own}) for own in solutions or ({},)]
        net.train(training)
        samples = {'samples': torch.stack([one['sr'] for one in outputs], 1)} if solutions else {}
        return outputs[0] | samples

    def _outputs(self, net: nn.Module, batch: Mapping[str, Any]) -> dict[str, Any]:
        shape: Any = getattr(net, 'noise_shape', None)
        if 'seeds' in batch and shape is not None:
            draws = [np.random.default_rng(seed).standard_normal(shape) for seed in batch['seeds']]
            batch = {**batch, 'noise': torch.from_numpy(np.stack(draws)).float()}
        quantities = Quantities(batch, self.precision.to_device, self._derive)
        return named(self.precision.call(net, **network_inputs(net, self._inputs, quantities)))

    @property
    def input_names(self) -> tuple[str, ...]:
        """The quantities that the generator takes; the first is the image to be upscaled."""
        return tuple(self._inputs)

    # State

    @property
    def learning_rates(self) -> dict[str, float]:
        return {name: optimiser.param_groups[0]['lr'] for name, optimiser in self._optimisers.items()}

    def network_states(self) -> dict[str, dict[str, State]]:
        """Weights to publish, by file stem: {'net_g': {'params': ..., 'params_ema': ...}, 'net_d': {...}}."""
        with average_weights(self._optimisers.values()):
            nets = {name: checkpoint.network_state_dict(net) for name, net in self._nets.items()}
        average = {'params_ema': nets.pop('net_g_ema')} if 'net_g_ema' in nets else {}
        states = {name: {'params': state} for name, state in nets.items()}
        return states | {'net_g': states['net_g'] | average}

    def state_dict(self) -> State:
        """Everything that training changes: networks, EMA, optimisers, the loss scale with fp16; and what `auto`
        resolved to. Schedules are functions of the iteration."""
        optimisers = {
            name: {
                'type': type(optimiser).__name__,
                'state': optimiser.state_dict()['state'],
                **({'groups': counted} if any(counted := group_state(optimiser)) else {}),
            }
            for name, optimiser in self._optimisers.items()
        }
        scale = {'loss_scale': self._gradient_step.state_dict()} if self.precision.scales_losses else {}
        chosen = {'precision': self.precision.chosen} if self.precision.chosen else {}
        return {name: net.state_dict() for name, net in self._nets.items()} | optimisers | scale | chosen

    def load_state_dict(self, state: State, keep: Sequence[str] = ()) -> None:
        """Restores a state returned by `state_dict`.

        Args:
            keep: 'network_g', 'network_d': networks that keep their current weights and start with a fresh optimiser;
                they may be missing in the state.

        Raises:
            UserError: the state belongs to a different model.
        """
        names = [name.removeprefix('network_') for name in keep]
        kept = {part for name in names for part in (f'net_{name}', f'net_{name}_ema', f'optim_{name}')}
        nets = {name: net for name, net in self._nets.items() if name not in kept}
        optimisers = {name: optimiser for name, optimiser in self._optimisers.items() if name not in kept}
        needed, given = nets.keys() | optimisers.keys(), state.keys() - kept - {'loss_scale', 'precision'}
        if needed != given:
            raise UserError(f'the state contains {sorted(given)}, but this model needs {sorted(needed)}. {OTHER_RUN}')
        for name, net in nets.items():
            wrong = checkpoint.differences(state[name], {key: t.shape for key, t in net.state_dict().items()})
            if wrong:
                raise UserError(f'the state does not match this {name}: {wrong}. {OTHER_RUN}')
            net.load_state_dict(state[name])
        for name, optimiser in optimisers.items():
            kind = type(optimiser).__name__
            if state[name]['type'] != kind:
                raise UserError(f'{name} was {state[name]["type"]} and is now {kind}. {OTHER_RUN}')
            load_state(optimiser, state[name]['state'])
            load_group_state(optimiser, state[name].get('groups', ()))
        if self.precision.scales_losses and 'loss_scale' in state:
            self._gradient_step.load_state_dict(state['loss_scale'])


def loss_terms(train: options_schema.Train) -> Iterator[tuple[str, str, nn.Module, tuple[str, ...]]]:
    """(name, key, loss, quantities read) of each non-adversarial loss of the generator in a train block."""
    for name, key, block, of, adversarial in loss_blocks(train):
        if not adversarial:
            with error_context('.'.join(key)):
                loss = build_loss(block)
                yield name, '.'.join(key), loss, reads(loss, block.of or of)


def split(batch: Mapping[str, Any], count: int) -> list[Mapping[str, Any]]:
    """Splits the tensors of `batch` along their first dimension into `count` equal micro-batches; drops others."""
    if count == 1:
        return [batch]
    tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
    samples = len(tensors['gt'])
    if samples % count:
        raise UserError(
            f'train.accumulate: a batch of {samples} samples cannot be split into {count} equal micro-batches'
        )
    parts = {name: value.split(samples // count) for name, value in tensors.items()}
    return [{name: part[number] for name, part in parts.items()} for number in range(count)]
