"""The training-pair pool: mixes the samples of many batches, whose degradations have choices in common."""

import numpy as np
import torch
from torch import Tensor

from aesop.errors import UserError

Pairs = dict[str, Tensor]


class PairPool:
    """Holds up to `size` pairs as bytes. Once there is no more room, a batch goes in and as many random ones come out.

    Exact for values in steps of 1/255, which lq and the ground truths of 8-bit files are.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._pairs: Pairs = {}

    def __len__(self) -> int:
        return len(next(iter(self._pairs.values()), ()))

    def exchange(self, pairs: Pairs, rng: np.random.Generator) -> Pairs:
        """Takes a batch of (N, 3, h, w) tensors in [0, 1] and gives one back; the same one while the pool fills.

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
        """The pairs held, uint8 on the CPU."""
        return {name: stored.to('cpu', copy=True) for name, stored in self._pairs.items()}

    def load_state_dict(self, state: Pairs) -> None:
        """Goes back to a state of `state_dict`; of more pairs than there is room for, the first."""
        self._pairs = {name: stored[: self.size].clone() for name, stored in state.items()}


def share_out(states: list[Pairs], rank: int, count: int) -> Pairs:
    """A state for one of `count` pools that together hold what the pools of `states` held, as far as there is room."""
    names = states[0] if states else ()
    return {name: torch.cat([state[name] for state in states])[rank::count] for name in names}
