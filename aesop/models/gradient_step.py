"""From gradients to weights: all optimisers step, or none where something is not finite; clipping; loss scaling.

On a GPU the host never learns whether a step was taken: fused optimisers and the EMA are told by a flag on the device.
"""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from aesop.utils import distributed

# Buffers that a forward pass in training changes: BatchNorm's statistics, spectral norm's singular vectors.
MOVING = {'running_mean', 'running_var', 'num_batches_tracked', 'weight_u', 'weight_v', '_u', '_v'}
FIRST_SCALE, GROWTH_INTERVAL = 2.0**16, 2000


def build_optimiser(block: Mapping[str, Any], parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser of an option block; fused, which is one pass over memory, where there is such a form.

    `fused: false` or `foreach: true` among its arguments takes another form.
    """
    arguments, parameters = dict(block), list(parameters)
    kind = getattr(torch.optim, arguments.pop('type'))
    forms = {'fused', 'foreach', 'capturable', 'differentiable'}
    if 'fused' in inspect.signature(kind).parameters and not forms & arguments.keys():
        try:
            return kind(parameters, fused=True, **arguments)
        except RuntimeError:  # not on this device in this version of PyTorch
            pass
    return kind(parameters, **arguments)


def load_state(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Takes over the tensors of `state`, in the memory layout of the parameters: fused forms walk both in step.

    Hyper-parameters stay those of the options; the learning rate is a function of the iteration.
    """
    optimiser.load_state_dict(optimiser.state_dict() | {'state': state})
    for parameter, values in optimiser.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                values[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)


class Descent:
    """The end of each training step.

    Attributes:
        loss_scale: factor of all gradients while they are computed, so that fp16 holds them; 1 for other precisions.
            It halves where they overflow, and doubles after `GROWTH_INTERVAL` steps without (Micikevicius et al.,
            Mixed Precision Training, ICLR 2018, section 3.2).
        grad_norms, skipped: see `SRModel`.
    """

    def __init__(self, device: torch.device, clip_norm: float | None, scales_losses: bool) -> None:
        self._clip_norm, self.scales_losses = clip_norm, scales_losses
        self.loss_scale = torch.tensor(FIRST_SCALE if scales_losses else 1.0, device=device)
        self._steps_of_scale = torch.zeros((), device=device)
        self.skipped = torch.zeros((), device=device)
        self.grad_norms: dict[str, Tensor] = {}

    def begin(self, optimisers: Mapping[str, torch.optim.Optimizer], nets: Iterable[nn.Module]) -> None:
        """Takes away the last gradients of `optimisers`, and notes the buffers of `nets` that a forward pass moves."""
        self._optimisers = optimisers
        for optimiser in optimisers.values():
            optimiser.zero_grad(set_to_none=True)
        buffers = [buffer for net in nets for name, buffer in net.named_buffers() if name.rpartition('.')[2] in MOVING]
        self._buffers = [(buffer, buffer.clone()) for buffer in buffers]

    @torch.no_grad()
    def end(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Steps every optimiser whose network has gradients, unless one of them or of `terms` is not finite.

        Returns:
            1 where the step was taken and 0 where not: the same on all ranks, a scalar on the device.
        """
        gradients = {name: _gradients(optimiser) for name, optimiser in self._optimisers.items()}
        gradients = {name: tensors for name, tensors in gradients.items() if tensors}
        lengths = {name: torch.linalg.vector_norm(torch.stack(torch._foreach_norm(g))) for name, g in gradients.items()}
        self.grad_norms = {name: length / self.loss_scale for name, length in lengths.items()}

        bad = [~torch.stack(list(values.values())).isfinite().all() for values in (terms, lengths)]
        bad_terms, bad_gradients = distributed.maximum(torch.stack(bad).float())
        stop = torch.maximum(bad_terms, bad_gradients)
        # With a loss scale, gradients that overflow are a matter of course.
        self.skipped = torch.maximum(bad_terms, bad_gradients * (self.loss_scale <= 1))

        for buffer, before in self._buffers:
            buffer.copy_(torch.where(stop > 0, before, buffer))
        for name, tensors in gradients.items():
            _step(self._optimisers[name], tensors, stop, self._divisor(self.grad_norms[name]))
        if self.scales_losses:
            self._adapt_scale(stop)
        return 1 - stop

    def _divisor(self, length: Tensor) -> Tensor | None:
        """What gradients are divided by: their scale, and what they are too long by."""
        if self._clip_norm is not None:
            return self.loss_scale * (length / self._clip_norm).clamp(min=1)
        return self.loss_scale if self.scales_losses else None

    def _adapt_scale(self, stop: Tensor) -> None:
        steps = (self._steps_of_scale + 1) * (1 - stop)
        grows = steps >= GROWTH_INTERVAL
        smaller, larger = (self.loss_scale / 2).clamp(min=1), self.loss_scale * (1 + grows.float())
        self.loss_scale, self._steps_of_scale = torch.where(stop > 0, smaller, larger), steps * ~grows

    def state_dict(self) -> dict[str, Tensor]:
        return {'scale': self.loss_scale, 'steps': self._steps_of_scale}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        device = self.loss_scale.device
        self.loss_scale, self._steps_of_scale = (state[name].to(device) for name in ('scale', 'steps'))


def _gradients(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    return [p.grad for group in optimiser.param_groups for p in group['params'] if p.grad is not None]


def _step(optimiser: torch.optim.Optimizer, gradients: list[Tensor], stop: Tensor, divisor: Tensor | None) -> None:
    """Steps on gradients / divisor unless `stop` is 1."""
    if getattr(optimiser, '_step_supports_amp_scaling', False):  # the way of torch.amp.GradScaler
        optimiser.found_inf, optimiser.grad_scale = stop, divisor
        optimiser.step()
        del optimiser.found_inf, optimiser.grad_scale
    elif not stop:  # on a GPU, the host waits here
        if divisor is not None:
            torch._foreach_div_(gradients, divisor)
        optimiser.step()
