"""The random generators of a rank: seeding, saving, restoring."""

import random
from typing import Any

import numpy as np
import torch


def seed_everything(*seed: int) -> None:
    """Seeds all generators; several numbers, e.g. of run, iteration and rank, are combined into one seed."""
    number = seed[0] if len(seed) == 1 else int(np.random.SeedSequence(seed).generate_state(1)[0])
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def random_state() -> dict[str, Any]:
    """The state of this rank's generators as tensors and numbers (state files contain no pickled objects)."""
    numpy = np.random.get_state(legacy=False)
    state = {'torch': torch.get_rng_state(), 'python': random.getstate()}
    of_twister = numpy['state']
    state['numpy'] = ('MT19937', of_twister['key'].tolist(), of_twister['pos'], numpy['has_gauss'], numpy['gauss'])
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state['torch'])
    random.setstate(state['python'])
    np.random.set_state(state['numpy'])
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'])
