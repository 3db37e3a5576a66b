"""Models: one optimisation step. Files, loggers and loaders belong to the training loop."""

from collections.abc import Mapping
from typing import Any

import torch

from aesop.models import autoencoder, gan, sr  # noqa: F401  (the explicit list)
from aesop.models.sr import SRModel
from aesop.options import Options, load_options
from aesop.registry import MODELS

__all__ = ['SRModel', 'build_model']


def build_model(
    options: Options | Mapping[str, Any],
    device: torch.device | str | None = None,
    state: Mapping[str, Any] | None = None,
) -> SRModel:
    """Builds the model `options.model_type` on `device` and loads its weights.

    Args:
        options: as returned by `load_options`, or the same YAML as a dict; `model_type`, `scale`, the networks, `path`
            and `train` are enough. Without `train` the model only predicts.
        device: default: the GPU if there is one, else the CPU.
        state: state dict of the run being resumed, whose choice for `precision: auto` is kept; otherwise unused.
    """
    if not isinstance(options, Options):
        options = load_options(dict(options))
    if device is None:
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    chosen = {'chosen': state['precision']} if state and 'precision' in state else {}
    return MODELS.get(options.model_type)(options, torch.device(device), **chosen)
