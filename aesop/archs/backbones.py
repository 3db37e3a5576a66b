"""Weights of pretrained ImageNet backbones: from a local file where there is one, else torchvision's own download."""

import logging
import os
from pathlib import Path

from torch import Tensor

from aesop import checkpoint
from aesop.errors import UserError

logger = logging.getLogger(__name__)

ARCHITECTURES = ('vgg19', 'vgg16', 'alexnet', 'squeezenet1_1')


def backbone_state_dict(arch: str, weights: str | None = 'imagenet') -> dict[str, Tensor]:
    """The `features.*` tensors of torchvision's `arch`, float32 on the CPU.

    Args:
        arch: one of ARCHITECTURES.
        weights: `imagenet` (or None) for torchvision's IMAGENET1K_V1, or a file with a torchvision state dict, with or
            without the classifier. The folder in the environment variable AESOP_WEIGHTS is looked in first: for
            torchvision's file name, ARCH.pth or ARCH_features*.pth, and for a relative `weights`.

    Raises:
        UserError: an unknown architecture; no such file, or another network's; nothing local and no download.
    """
    if arch not in ARCHITECTURES:
        raise UserError(f'there is no backbone "{arch}"; known: {", ".join(ARCHITECTURES)}')
    if weights in (None, 'imagenet'):
        path = _in_folder(_folder(), arch) if _folder() else None
    else:
        path = backbone_file(weights)
    state = checkpoint.load(path) if path else _download(arch)
    logger.info('%s: weights from %s', arch, path or 'torchvision')
    tensors = state if isinstance(state, dict) else {}
    features = {name: t.float() for name, t in tensors.items() if name.startswith('features.')}
    if not features:
        raise UserError(f'{path} holds no `features.*` tensors: it is not a torchvision state dict of {arch}')
    return features


def backbone_file(weights: str) -> Path:
    """Where the file `weights` of an option block lies: below AESOP_WEIGHTS, or where it says."""
    folder = _folder()
    return folder / weights if folder and (folder / weights).is_file() else Path(weights)


def _folder() -> Path | None:
    named = os.environ.get('AESOP_WEIGHTS')
    if named and not Path(named).is_dir():
        raise UserError(f'the environment variable AESOP_WEIGHTS names {named}, which is no folder; correct or unset it')
    return Path(named) if named else None


def _in_folder(folder: Path, arch: str) -> Path | None:
    published = _url(arch).rsplit('/', 1)[-1]
    candidates = [folder / published, folder / f'{arch}.pth', *sorted(folder.glob(f'{arch}_features*.pth'))]
    return next((path for path in candidates if path.is_file()), None)


def _url(arch: str) -> str:
    from torchvision.models import get_model_weights  # heavy, and only pretrained backbones need it

    return get_model_weights(arch).IMAGENET1K_V1.url


def _download(arch: str) -> dict[str, Tensor]:
    from torch.hub import load_state_dict_from_url

    try:
        return load_state_dict_from_url(_url(arch), map_location='cpu', check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:  # no network, no space; a wrong hash
        raise UserError(
            f'the ImageNet weights of {arch} could not be downloaded ({error}): fetch {_url(arch)} on a machine with '
            f'internet access, put the file into a folder and set the environment variable AESOP_WEIGHTS to that folder'
        ) from error
