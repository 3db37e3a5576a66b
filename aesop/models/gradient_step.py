"""Applies gradients: all optimisers step, or none if something is not finite; gradient clipping; loss scaling.

Whether a step was taken is never synchronised to the host: `torch.amp.GradScaler` passes it to fused optimisers on the
device, and the EMA reads a flag there.
"""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from aesop.registry import OPTIMIZERS
from aesop.utils import distributed

FIRST_SCALE, GROWTH_INTERVAL = 2.0**16, 2000


def build_optimiser(block: Mapping[str, Any], parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Builds the optimiser of an option block, fused (a single pass over memory) if supported.

    Set `fused: false` or `foreach: true` among its arguments for another implementation.
    """
    arguments, parameters = dict(block), list(parameters)
    kind = OPTIMIZERS.get(arguments.pop('type'))
    forms = {'fused', 'foreach', 'capturable', 'differentiable'}
    if 'fused' in inspect.signature(kind).parameters and not forms & arguments.keys():
        try:
            return kind(parameters, fused=True, **arguments)
        except RuntimeError:  # not supported on this device by this version of PyTorch
            pass
    return kind(parameters, **arguments)


def load_state(optimiser: torch.optim.Optimizer, state: Mapping[Any, Any]) -> None:
    """Loads the tensors of `state` in the memory layout of the parameters, which fused implementations require.

    Hyper-parameters are those of the options; the learning rate is a function of the iteration.
    """
    optimiser.load_state_dict(optimiser.state_dict() | {'state': state})
    for parameter, values in optimiser.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                values[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)


class GradientStep:
    """Updates the weights at the end of each training step.

    Attributes:
        loss_scale: factor of all losses, so that gradients do not underflow in fp16; 1 for other precisions. It is
            halved on overflow and doubled after `GROWTH_INTERVAL` steps without one (Micikevicius et al.,
            Mixed Precision Training, ICLR 2018, section 3.2).
        grad_norms, skipped: see `SRModel`.
    """

    def __init__(self, device: torch.device, clip_norm: float | None, scales_losses: bool) -> None:
        self._clip_norm, self.scales_losses = clip_norm, scales_losses
        first = FIRST_SCALE if scales_losses else 1.0
        self._scaler = torch.amp.GradScaler(device.type, init_scale=first, growth_interval=GROWTH_INTERVAL)
        self._one = torch.ones((), device=device)
        self.skipped = torch.zeros((), device=device)
        self.grad_norms: dict[str, Tensor] = {}

    @property
    def loss_scale(self) -> Tensor:
        return self._scaler.scale(self._one)

    def begin(self, optimisers: Mapping[str, torch.optim.Optimizer], nets: Iterable[nn.Module]) -> None:
        """Clears the gradients of `optimisers` and saves the buffers of `nets`, which forward passes update."""
        self._optimisers = optimisers
        for optimiser in optimisers.values():
            optimiser.zero_grad(set_to_none=True)
        self._buffers = [(buffer, buffer.clone()) for net in nets for buffer in net.buffers()]

    @torch.no_grad()
    def end(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Steps every optimiser whose network has gradients, unless one of them or of `terms` is not finite.

        Returns:
            1 if the step was taken, else 0: the same on all ranks, a scalar on the device.
        """
        scale = self.loss_scale
        gradients = {name: _gradients(optimiser) for name, optimiser in self._optimisers.items()}
        gradients = {name: tensors for name, tensors in gradients.items() if tensors}
        lengths = {name: _norm(tensors) for name, tensors in gradients.items()}
        self.grad_norms = {name: length / scale for name, length in lengths.items()}

        bad = [~torch.stack(list(values.values())).isfinite().all() for values in (terms, lengths)]
        bad_terms, bad_gradients = distributed.reduce_max(torch.stack(bad).float())
        stop = torch.maximum(bad_terms, bad_gradients)
        # With a loss scale, overflowing gradients are expected.
        self.skipped = torch.maximum(bad_terms, bad_gradients * (scale <= 1))

        for buffer, before in self._buffers:
            buffer.copy_(torch.where(stop > 0, before, buffer))
        for name, tensors in gradients.items():
            # The scaler skips an optimiser with an infinite gradient: to skip one, all get one.
            min(tensors, key=Tensor.numel).add_(torch.where(stop > 0, torch.inf, 0.0))
            optimiser = self._optimisers[name]
            self._scaler.unscale_(optimiser)
            if self._clip_norm is not None:
                excess = (self.grad_norms[name] / self._clip_norm).clamp(min=1)
                for gradient in tensors:
                    gradient.div_(excess)
            self._scaler.step(optimiser)
        if gradients:
            self._scaler.update(None if self.scales_losses else 1.0)
        return 1 - stop

    def state_dict(self) -> dict[str, Any]:
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._scaler.load_state_dict(state)


def _gradients(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    return [p.grad for group in optimiser.param_groups for p in group['params'] if p.grad is not None]


def _norm(tensors: list[Tensor]) -> Tensor:
    """The 2-norm of all elements together."""
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(tensor) for tensor in tensors]))
