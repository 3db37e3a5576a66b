"""Registers the optimisers of torch.optim that only need gradients."""

import inspect

import torch

from aesop.models import extra_optimisers  # noqa: F401  (registers those of pytorch-optimizer)
from aesop.registry import OPTIMIZERS

UNSUPPORTED = ('LBFGS', 'Muon', 'Optimizer', 'SparseAdam')  # need a closure, or do not support a network's tensors

for _name, _kind in vars(torch.optim).items():
    if inspect.isclass(_kind) and _name not in UNSUPPORTED:
        OPTIMIZERS.register()(_kind)
