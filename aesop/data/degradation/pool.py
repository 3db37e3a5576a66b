"""The training-pair pool: mixes samples across batches, since those of one batch share random choices."""

import numpy as np
import torch
from torch import Tensor

from aesop.errors import UserError

Pairs = dict[str, Tensor]


class PairPool:
    """Holds up to `size` pairs as bytes. Once it is full, each batch is swapped for as many random pairs.

    Exact for multiples of 1/255, such as lq and the ground truths of 8-bit files.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._pairs: Pairs = {}

    def __len__(self) -> int:
        return len(next(iter(self._pairs.values()), ()))

    def exchange(self, pairs: Pairs, rng: np.random.Generator) -> Pairs:
        """Takes a batch of (N, 3, h, w) tensors in [0, 1] and returns one; the same one until the pool is full.

        Raises:
            UserError: the pool is smaller than a batch.
        """
        count, held = len(next(iter(pairs.values()))), len(self)
        if count > max(held, self.size - held):
            raise UserError(f'queue_size: a pool of {self.size} pairs cannot hold a batch of {count}; make it larger')
        new = {name: (images.clamp(0, 1) * 255).round().to(torch.uint8) for name, images in pairs.items()}
        self._pairs = {name: stored.to(new[name].device) for name, stored in self._pairs.items()}
        if held + count <= self.size:
            self._pairs = {name: torch.cat([self._pairs[name], new[name]]) if held else new[name] for name in new}
            return pairs
        slots = torch.from_numpy(rng.permutation(held)[:count])
        drawn = {}
        for name, stored in self._pairs.items():
            at = slots.to(stored.device)
            drawn[name] = stored[at].to(pairs[name].dtype) / 255
            stored[at] = new[name]
        return drawn

    def state_dict(self) -> Pairs:
        """The pairs in the pool, uint8 on the CPU."""
        return {name: stored.to('cpu', copy=True) for name, stored in self._pairs.items()}

    def load_state_dict(self, state: Pairs) -> None:
        """Restores a state of `state_dict`; pairs beyond `size` are dropped."""
        self._pairs = {name: stored[: self.size].clone() for name, stored in state.items()}


def redistribute(states: list[Pairs], rank: int, count: int) -> Pairs:
    """The state of pool number `rank` of `count`, when the pairs of all `states` are divided among them."""
    names = states[0] if states else ()
    return {name: torch.cat([state[name] for state in states])[rank::count] for name in names}
