"""The optimisers by name: those of torch.optim that train a network from its gradients alone."""

import inspect

import torch

from aesop.models import extra_optimisers  # noqa: F401  (registers those of pytorch-optimizer)
from aesop.registry import OPTIMIZERS

UNUSABLE = ('LBFGS', 'Muon', 'Optimizer', 'SparseAdam')  # these want a closure, or not the tensors of a network

for _name, _kind in vars(torch.optim).items():
    if inspect.isclass(_kind) and _name not in UNUSABLE:
        OPTIMIZERS.register()(_kind)
