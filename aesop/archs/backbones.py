"""Weights of pretrained ImageNet backbones: from a local file if there is one, else downloaded from torchvision."""

import logging
import os
from pathlib import Path

import torch
from torch import Tensor

from aesop.errors import Unavailable, UserError
from aesop.utils import checkpoint

logger = logging.getLogger(__name__)

ARCHITECTURES = ('vgg19', 'vgg16', 'alexnet', 'squeezenet1_1')
# torchvision's `features.J` of conv2 to conv10 in `vgg_r41.pth`, the encoder of LinearStyleTransfer (Li et al., CVPR
# 2019) and RefVAE; its conv1 is a 1x1 convolution of the input.
VGG_R41 = dict(zip((f'conv{i}' for i in range(2, 11)), (0, 2, 5, 7, 10, 12, 14, 16, 19)))
INCEPTION = (
    'https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth'
)


def backbone_state_dict(arch: str, weights: str | None = 'imagenet') -> dict[str, Tensor]:
    """The `features.*` tensors of torchvision's `arch`, float32 on the CPU.

    Args:
        arch: one of ARCHITECTURES.
        weights: `imagenet` (or None) for torchvision's IMAGENET1K_V1, or a file with a torchvision state dict, with or
            without the classifier. The folder in the environment variable AESOP_WEIGHTS is searched first: for
            torchvision's file name, ARCH.pth or ARCH_features*.pth, and for a relative `weights`. The names of
            `vgg_r41.pth` are translated; its first convolution becomes `input.weight` and `input.bias`.

    Raises:
        UserError: the architecture is unknown, the weights were not found, or they are another network's.
    """
    if arch not in ARCHITECTURES:
        raise UserError(f'unknown backbone "{arch}"; known: {", ".join(ARCHITECTURES)}')
    path = None if weights in (None, 'imagenet') else backbone_file(weights)
    state, source = _state_dict(arch, _url(arch), path, f'{arch}.pth', f'{arch}_features*.pth')
    if 'features.0.weight' not in state and 'conv10.weight' in state:
        layers = {'conv1': 'input'} | {name: f'features.{index}' for name, index in VGG_R41.items()}
        state = {f'{layers[name]}.{kind}': state[f'{name}.{kind}'] for name in layers for kind in ('weight', 'bias')}
    features = {name: t.float() for name, t in state.items() if name.startswith(('features.', 'input.'))}
    if not features:
        raise UserError(f'{source} has no `features.*` tensors: it is not a torchvision state dict of {arch}')
    return features


def fetch_backbone(arch: str) -> None:
    """Makes torchvision's weights of `arch` available, in AESOP_WEIGHTS or PyTorch's download cache.

    Raises:
        Unavailable: they are in neither place and could not be downloaded.
    """
    url = _url(arch)
    name = url.rsplit('/', 1)[-1]
    kept = Path(torch.hub.get_dir(), 'checkpoints', name)
    if not kept.is_file() and _local(name, f'{arch}.pth', f'{arch}_features*.pth') is None:
        _download(arch, url)


def inception_state_dict(weights: str | None = 'imagenet') -> dict[str, Tensor]:
    """The tensors of FID's Inception network: TensorFlow's of 2015-12-05, as converted by torch-fidelity.

    Args:
        weights: `imagenet` (or None) for torch-fidelity's own, or a file with them. The folder in AESOP_WEIGHTS is
            searched first, for files named `*inception-2015-12-05*.pth` and for a relative `weights`.

    Raises:
        Unavailable: the weights were found neither locally nor for download.
    """
    path = None if weights in (None, 'imagenet') else backbone_file(weights)
    return _state_dict('inception', INCEPTION, path, '*inception-2015-12-05*.pth')[0]


def _state_dict(arch: str, url: str, path: Path | None, *names: str) -> tuple[dict[str, Tensor], str]:
    """The state dict in `path`, the first file in AESOP_WEIGHTS with one of `names`, or at `url`; and its source."""
    path = path or _local(url.rsplit('/', 1)[-1], *names)
    state = checkpoint.load(path) if path else _download(arch, url)
    logger.info('%s: weights from %s', arch, path or url)
    return state if isinstance(state, dict) else {}, str(path or url)


def _local(*names: str) -> Path | None:
    """The first file in AESOP_WEIGHTS with one of these names."""
    folder = _folder()
    return next((file for name in names for file in sorted(folder.glob(name))), None) if folder else None


def backbone_file(weights: str) -> Path:
    """Path of the file `weights` of an option block: relative to AESOP_WEIGHTS if it exists there."""
    folder = _folder()
    return folder / weights if folder and (folder / weights).is_file() else Path(weights)


def _folder() -> Path | None:
    named = os.environ.get('AESOP_WEIGHTS')
    if named and not Path(named).is_dir():
        raise UserError(
            f'the environment variable AESOP_WEIGHTS names {named}, which is not a folder; correct or unset it'
        )
    return Path(named) if named else None


def _url(arch: str) -> str:
    from torchvision.models import get_model_weights  # heavy, and only pretrained backbones need it

    return get_model_weights(arch)['IMAGENET1K_V1'].url


def _download(arch: str, url: str) -> dict[str, Tensor]:
    from torch.hub import load_state_dict_from_url

    try:
        return load_state_dict_from_url(url, map_location='cpu', check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:  # no network, no space; a wrong hash
        raise Unavailable(
            f'the weights of {arch} could not be downloaded ({error}): get {url} on a machine with internet access'
            f'{_by_command(url)}, put the file into a folder and set the environment variable AESOP_WEIGHTS to that '
            'folder'
        ) from error


def _by_command(url: str) -> str:
    name = next((name for name, entry in checkpoint.manifest().items() if entry.get('url') == url), None)
    return f' (`aesop download {name}` does so)' if name else ''
