"""Loads networks from self-describing files: the header of a safetensors file contains the block of its network.

Metadata of such a file: `architecture`, the network's block `{"type": ..., ...}` as JSON; `scale`; `recipe_sha256`, the
hash of the option file it was trained with, if any.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from aesop.archs import build_network
from aesop.errors import UserError, error_context
from aesop.utils import safetensors
from aesop.utils.checkpoint import StateDict, find_weights, load_params, network_state_dict, read_weights, save_network
from aesop.utils.hub import DEFAULT_FILE, upload_folder


def architecture_of(path: Path) -> dict[str, Any] | None:
    """The network block in the header of a safetensors file; None if it has none, or for other formats.

    Raises:
        UserError: the header cannot be read.
    """
    if path.suffix != '.safetensors' or not path.is_file():
        return None
    try:
        text = safetensors.read_metadata(path).get('architecture', 'null')
        block = json.loads(text)
    except (OSError, ValueError) as error:
        raise UserError(f'{path} is damaged ({error}): copy or download it again') from error
    if block is not None and not (isinstance(block, dict) and isinstance(block.get('type'), str)):
        raise UserError(f'{path}: `architecture` in its header is not a network block: {text[:100]}')
    return block


def metadata(block: Mapping[str, Any], scale: int | None, **others: str) -> dict[str, str]:
    """The metadata of a file with weights of the network `block`."""
    return {'architecture': json.dumps(block, default=dict), **({'scale': str(scale)} if scale else {}), **others}


def save_pretrained(net: nn.Module, block: dict[str, Any], path: str | Path, state: StateDict | None = None) -> None:
    """Writes `net`'s weights (or `state`) to a safetensors file that `from_pretrained` can load by itself.

    Args:
        block: the block that `net` was built from.
    """
    save_network(path, state or network_state_dict(net), metadata=metadata(block, getattr(net, 'scale', None)))


def from_pretrained(
    weights: str | Path, architecture: dict[str, Any] | None = None, key: str = 'params_ema'
) -> nn.Module:
    """Loads a network from a weights file, on the CPU in evaluation mode.

    Args:
        weights: a path, a name in `aesop/weights` or `weights.yml`, or `hf://owner/repository[@revision][/file]`.
        architecture: block of the network `{type: ..., **arguments}`, for files whose header does not contain it. An
            RRDB auto-encoder is recognised by its tensors.
        key: entry of a `.pth` file: params_ema, or params if it is missing.

    Raises:
        UserError: the file was not found, or its network is unknown.
    """
    path = find_weights(weights)
    state = None
    block = architecture or architecture_of(path)
    if block is None:
        state = read_weights(path, key)[0]
        block = rrdb_autoencoder(state)
    if block is None:
        raise UserError(
            f'{path} does not describe its network: pass `architecture={{"type": ..., ...}}`, or a safetensors file '
            'with this block in its header'
        )
    with error_context(f'{path}: architecture'):
        net = build_network(block)
    load_params(net, state or read_weights(path, key)[0], path)
    return net.requires_grad_(False).eval()


def rrdb_autoencoder(state: StateDict) -> dict[str, Any] | None:
    """The block of an auto-encoder whose decoder is an RRDBNet with current names, or None for any other network."""
    stem = state.get('encoder.0.0.weight', state.get('conv_first.0.weight'))
    prefix = 'encoder.2.' if 'encoder.2.0.rdb1.conv1.weight' in state else 'body.'  # a file has one or both
    needed = {f'decoder.{name}.weight' for name in ('conv_first', 'body.0.rdb1.conv1', 'conv_up2')}
    if stem is None or not needed | {f'{prefix}0.rdb1.conv1.weight'} <= state.keys():
        return None
    num_feat, channels = state['decoder.conv_first.weight'].shape[:2]
    scale = 8 if 'decoder.conv_up3.weight' in state else 4 if channels == 3 else 2
    return {
        'type': 'AutoEncoder_RRDBNet',
        'enc_opt': {
            'num_feat': len(stem) * scale**2,
            'num_block': _blocks(state, prefix),
            'num_grow_ch': len(state[f'{prefix}0.rdb1.conv1.weight']),
        },
        'dec_opt': {
            'type': 'RRDBNet',
            'scale': scale,
            'num_feat': num_feat,
            'num_block': _blocks(state, 'decoder.body.'),
            'num_grow_ch': len(state['decoder.body.0.rdb1.conv1.weight']),
        },
    }


def _blocks(state: StateDict, prefix: str) -> int:
    return len({name.removeprefix(prefix).split('.')[0] for name in state if name.startswith(prefix)})


def push_to_hub(
    net: nn.Module, block: dict[str, Any], repository: str, private: bool = False, card: str | None = None
) -> str:
    """Uploads a network to `hf://repository`; for a run, prefer `aesop publish`, which writes a full model card.

    Args:
        block: the block that `net` was built from.
        repository: `owner/name`.
        card: text of README.md.

    Returns:
        The address of the repository.
    """
    with TemporaryDirectory() as folder:
        save_pretrained(net, block, Path(folder) / DEFAULT_FILE)
        (Path(folder) / 'config.json').write_text(json.dumps(block, indent=2, default=dict), encoding='utf-8')
        if card:
            (Path(folder) / 'README.md').write_text(card, encoding='utf-8')
        return upload_folder(Path(folder), repository, private)
