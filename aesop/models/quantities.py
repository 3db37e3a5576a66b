"""The named tensors of a training step: batch entries, network outputs, and tensors derived from these.

Losses read quantities by the names of their arguments. Derived on first use:
`<x>_ema` (the output `<x>` of the EMA generator), `<x>_grad` (gradient map of an image) and `<x>_usm` (the image
sharpened, unless it is in the batch).
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from aesop.errors import UserError

DERIVED = ('ema', 'grad', 'usm')


class Quantities(Mapping[str, Any]):
    """The quantities of one micro-batch by name; each is computed, or moved to the device, when it is first read.

    Outputs of a trained network, and tensors derived from them, are read as leaves, where the gradients of all losses
    accumulate. The graph of one loss is thus freed before the next is built, and `backward` runs through each network
    once.

    Args:
        given: the batch.
        place: moves a tensor of the batch to the networks' device and memory layout.
        derive: computes a missing quantity by name; raises KeyError if it cannot.
    """

    def __init__(
        self,
        given: Mapping[str, Any],
        place: Callable[[Tensor], Tensor],
        derive: Callable[[str, 'Quantities'], Any],
    ) -> None:
        self._given, self._place, self._derive = given, place, derive
        self._values: dict[str, Any] = {}
        self._graphs: list[list[tuple[Tensor, Tensor]]] = []  # (output, leaf), one list per network or derivation

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            if name in self._given:
                value = self._given[name]
                self._values[name] = self._place(value) if isinstance(value, Tensor) else value
            else:
                self.add({name: self._derive(name, self)})
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._given, **self._values})

    def __len__(self) -> int:
        return len({**self._given, **self._values})

    def __contains__(self, name: object) -> bool:
        """Whether it is available without being derived."""
        return name in self._values or name in self._given

    def add(self, outputs: Mapping[str, Any], prefix: str = '') -> None:
        """Adds the outputs of a network, under `prefix` + their names."""
        graphs = []
        for name, value in outputs.items():
            if isinstance(value, Tensor) and value.requires_grad:
                leaf = value.detach().requires_grad_()
                graphs.append((value, leaf))
                value = leaf
            self._values[prefix + name] = value
        if graphs:
            self._graphs.append(graphs)

    def backward(self) -> None:
        """Backpropagates the accumulated gradients into the networks, derived quantities first."""
        while self._graphs:
            reached = [(value, leaf.grad) for value, leaf in self._graphs.pop() if leaf.grad is not None]
            if reached:
                torch.autograd.backward([value for value, _ in reached], [gradient for _, gradient in reached])


@dataclass(frozen=True)
class Term:
    """A loss with the quantities that it reads.

    Attributes:
        name: the name it is logged under, unless the loss names its own terms.
        key: its key in the options, e.g. `train.pixel_opt`.
    """

    name: str
    key: str
    loss: nn.Module
    reads: tuple[str, ...]

    def __call__(self, quantities: Mapping[str, Any]) -> dict[str, Tensor]:
        """Weighted scalars by name."""
        value = self.loss(*(quantities[name] for name in self.reads))
        return value if isinstance(value, dict) else {self.name: value}


def reads(loss: Callable[..., Any], of: Sequence[str] | None = None) -> tuple[str, ...]:
    """The quantities that a loss reads: its arguments without a default, or those in `of`, in the same order.

    Raises:
        UserError: `of` has the wrong number of names.
    """
    call = getattr(loss, 'forward', loss)
    arguments = [a for a in inspect.signature(call).parameters.values() if a.kind is a.POSITIONAL_OR_KEYWORD]
    needed = tuple(a.name for a in arguments if a.default is a.empty)
    if of is None:
        return needed
    if not len(needed) <= len(of) <= len(arguments):
        called = ', '.join(a.name for a in arguments)
        raise UserError(f'of: names {len(of)} quantities, but {type(loss).__name__} reads {len(needed)}: {called}')
    return tuple(of)


def network_inputs(net: nn.Module, takes: Sequence[str], quantities: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `net.forward` from the quantities in `takes`, in order; optional ones may be missing."""
    arguments = inspect.signature(net.forward).parameters.values()
    pairs = list(zip(arguments, takes))
    return {a.name: quantities[name] for a, name in pairs if a.default is a.empty or name in quantities}


def named(output: Any) -> dict[str, Any]:
    """A network's outputs by name: a single tensor is `sr`."""
    return dict(output) if isinstance(output, Mapping) else {'sr': output}
