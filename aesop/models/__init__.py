"""What one optimisation step does. No files, loggers or loaders here: the engine owns those."""

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
    """The model that `options.model_type` names, its weights loaded, on `device`.

    Args:
        options: what `load_options` returns, or the same YAML as a dict; `model_type`, `scale`, the networks, `path`
            and `train` are enough. Without `train` the model only predicts.
        device: default: the GPU where there is one, else the CPU.
        state: of the run that this one continues, as `state_dict` gives it: what `precision: auto` became there stays.
            Nothing else of it is used.
    """
    if not isinstance(options, Options):
        options = load_options(dict(options))
    if device is None:
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    chosen = {'chosen': state['precision']} if state and 'precision' in state else {}
    return MODELS.get(options.model_type)(options, torch.device(device), **chosen)
