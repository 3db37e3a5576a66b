"""Builds the network that a weights file belongs to, detected from the names and sizes of its tensors."""

import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from aesop.archs import build_network, spandrel
from aesop.archs.pretrained import architecture_of
from aesop.errors import UserError, error_context
from aesop.options import load_options
from aesop.utils.checkpoint import StateDict, esrgan_name, find_weights, load, load_params, read_weights

logger = logging.getLogger(__name__)

Block = Mapping[str, Any]

SHIPPED = 'aesop_x4'  # the network of the package, by name


def load_generator(weights: str | Path, arch: str | None = None, key: str | None = None) -> Any:
    """The network of a weights file with its weights, for prediction only; see `recognise`."""
    return recognise(weights, arch, key)[0]


def recognise(weights: str | Path, arch: str | None = None, key: str | None = None) -> tuple[Any, Block]:
    """The network of a weights file with its weights, for prediction only, and its block.

    Args:
        weights: a file, a name in `weights.yml`, or `hf://owner/repository[/file]`. The network is taken from the
            run's `options.yml` if the file is in the folder of a run; otherwise from the header of a safetensors file,
            from the package spandrel if it is installed, or from the tensors.
        arch: block of the network, as YAML, used instead.
        key: entry of the file; None: `params_ema` if it exists, else `params`; logged.

    Raises:
        UserError: the file cannot be read or has no entry `key`, or its network is unknown or not for RGB images.
    """
    path = find_weights(weights)
    state, used = read_weights(path, key or 'params_ema')
    if key and used != key:
        raise UserError(f'{path} has no `{key}`: remove --key, or correct it')
    options = path.resolve().parent.parent / 'options.yml'
    if arch:
        block, source = load_options({}, [f'network_g={arch}']).network_g, '--arch'
    elif path.resolve().parent.name == 'models' and options.is_file():
        block, source = load_options(options).network_g, str(options)
    elif block := architecture_of(path):
        source = 'its header'
    elif found := spandrel.identify(whole(path, used)):
        (block, state), source = found, 'spandrel'
    else:
        block, source = detect(state, path), 'its tensors'
    net = build_network(block)
    load_params(net, state, path)
    net = net.requires_grad_(False).eval()
    if not _upscales(net):
        raise UserError(
            f'{path}: this {block["type"]} does not make an RGB image of an RGB image, at a scale of its own; name the '
            'weights of a super-resolution network'
        )
    logger.info('%s: %s, x%d; detected from %s', path, block['type'], net.scale, source)
    return net, block


def whole(path: Path, key: str | None) -> StateDict:
    """The entry of a file including the buffers that `read_weights` drops, which spandrel needs."""
    found = load(path)
    return found.get(key, found)


@torch.inference_mode()
def _upscales(net: Any) -> bool:
    """Whether the network turns an RGB image into one larger by `scale`, by trying it."""
    side = getattr(net, 'img_size', None) or 8
    try:
        output = net(torch.zeros(1, 3, side, side))
        sr = output['sr'] if isinstance(output, dict) else output
        return sr.shape == (1, 3, net.scale * side, net.scale * side)
    except (RuntimeError, TypeError, AttributeError):  # other channels, a vector, several images
        return False


def detect(state: StateDict, path: str | Path) -> Block:
    """The block of the network that has these tensors (as `read_weights` gives them).

    Raises:
        UserError: the network is unknown, or cannot be described completely from its tensors.
    """
    if any(name.startswith('encoder.') for name in state):
        raise UserError(f'{path}: an auto-encoder does not upscale; name the weights of a super-resolution network')
    found = [describe for signature, describe in KNOWN.items() if signature in state]
    if 'body.0.rdb1.conv1.weight' in map(esrgan_name, state):
        found.append(_rrdbnet)
    if not found:
        raise UserError(
            f'{path}: no network is known whose tensors are called {", ".join(list(state)[:3])}, ...; '
            "--arch '{type: ..., ...}' names it; with `pip install spandrel` that package's networks are known too"
        )
    try:
        with error_context(str(path)):
            return found[0](state)
    except (LookupError, ValueError, ArithmeticError) as error:  # a tensor that is missing or of another size
        raise UserError(
            f'{path}: it looks like a network of a known kind, but has not all its tensors ({error})'
        ) from None


def _rrdbnet(state: StateDict) -> Block:
    named, state = state, {esrgan_name(name): tensor for name, tensor in state.items()}
    num_feat, num_in_ch = state['conv_first.weight'].shape[:2]
    num_out_ch = len(state['conv_last.weight'])
    num_block, num_grow_ch = _count(state, r'body\.(\d+)\.'), len(state['body.0.rdb1.conv1.weight'])
    steps = sum(f'conv_up{i}.weight' in state for i in range(1, 10))
    unshuffle = math.isqrt(num_in_ch // num_out_ch)  # of today's x1 and x2: a smaller image of more channels
    plus = 'body.0.rdb1.conv1x1.weight' in state
    if steps >= 2 and not plus and (state.keys() == named.keys() or unshuffle > 1):  # today's form, under any names
        sizes = {'num_feat': num_feat, 'num_block': num_block, 'num_grow_ch': num_grow_ch}
        channels = {'num_in_ch': num_in_ch // unshuffle**2, 'num_out_ch': num_out_ch}
        return {'type': 'RRDBNet', **channels, 'scale': 2**steps // unshuffle, **sizes}
    sizes = {'nf': num_feat, 'nb': num_block, 'gc': num_grow_ch, 'sf': 2**steps} | ({'plus': True} if plus else {})
    return {'type': 'RRDBNet_LEGACY', 'in_nc': num_in_ch, 'out_nc': num_out_ch, **sizes}


def _spsrnet(state: StateDict) -> Block:
    nf, in_nc = state['b_fea_conv.0.weight'].shape[:2]
    nb, gc = _count(state, r'model\.1\.sub\.(\d+)\.RDB1'), len(state['model.1.sub.0.RDB1.conv1.0.weight'])
    return {
        'type': 'SPSRNet',
        'in_nc': in_nc,
        'out_nc': len(state['f_HR_conv1.0.weight']),
        'nf': nf,
        'nb': nb,
        'gc': gc,
    }


def _msrresnet(state: StateDict) -> Block:
    num_feat, num_in_ch = state['conv_first.weight'].shape[:2]
    step = math.isqrt(len(state['upconv1.weight']) // num_feat)
    return {
        'type': 'MSRResNet',
        'num_in_ch': num_in_ch,
        'num_out_ch': len(state['conv_last.weight']),
        'num_feat': num_feat,
        'num_block': _count(state, r'body\.(\d+)\.'),
        'upscale': step**2 if 'upconv2.weight' in state else step,
    }


def _srvgg(state: StateDict) -> Block:
    num_feat, num_in_ch = state['body.0.weight'].shape[:2]
    last = max(int(name.split('.')[1]) for name in state)  # convolutions, each but the last followed by its activation
    upscale = math.isqrt(len(state[f'body.{last}.weight']) // num_in_ch)
    sizes = {'num_in_ch': num_in_ch, 'num_out_ch': num_in_ch, 'num_feat': num_feat, 'num_conv': last // 2 - 1}
    block = {'type': 'SRVGGNetCompact', **sizes, 'upscale': upscale}
    return block if 'body.1.weight' in state else block | {'act_type': _activation(block, state)}


@torch.inference_mode()
def _activation(block: Block, state: StateDict) -> str:
    """relu or leakyrelu, which have no weights that would tell: the one with which the network, made smaller again,
    gives back the image that it is given."""
    waves = torch.linspace(0, 9, 24).sin() / 4 + 0.5
    lq = (waves[:, None] * waves).expand(1, block['num_in_ch'], -1, -1)
    errors = {}
    for act_type in ('relu', 'leakyrelu'):
        net = build_network({**block, 'act_type': act_type}).eval()
        load_params(net, state, 'SRVGGNetCompact')
        errors[act_type] = (F.avg_pool2d(net(lq), block['upscale']) - lq).abs().mean().item()
    best, other = sorted(errors, key=lambda name: errors[name])
    if not errors[best] < errors[other] / 2:
        raise UserError(
            'an SRVGGNetCompact whose activations have no weights: they may be relu or leakyrelu; say which with '
            "--arch '{type: SRVGGNetCompact, act_type: ..., ...}'"
        )
    logger.info('SRVGGNetCompact: act_type %s, with which it reproduces a test image', best)
    return best


def _refvae(state: StateDict) -> Block:
    raise UserError(
        'a RefVAE, whose tensors do not tell its scale: say it with '
        f"--arch '{{type: RefVAE, scale: 8, num_feat: {len(state['dec_feat.0.weight'])}, "
        f"num_latent: {len(state['bn.weight'])}}}' (or scale: 4, and its vgg_weights)"
    )


def _swinir(state: StateDict) -> Block:
    groups = range(_count(state, r'layers\.(\d+)\.'))
    blocks = [f'layers.{i}.residual_group.blocks' for i in groups]
    tables = [state[f'{place}.0.attn.relative_position_bias_table'] for place in blocks]
    dim, first = len(state['conv_first.weight']), f'{blocks[0]}.0'
    return {
        'type': 'SwinIR',
        **_window_network(state, tables[0]),
        'depths': [_count(state, re.escape(place) + r'\.(\d+)\.') for place in blocks],
        'num_heads': [table.shape[1] for table in tables],
        'mlp_ratio': _ratio(state[f'{first}.mlp.fc1.weight']),
        'qkv_bias': f'{first}.attn.qkv.bias' in state,
        'embed_dim': dim,
    }


def _drct(state: StateDict) -> Block:
    groups = range(_count(state, r'layers\.(\d+)\.'))
    tables = [state[f'layers.{i}.swin1.attn.relative_position_bias_table'] for i in groups]
    return {
        'type': 'DRCT',
        **_window_network(state, tables[0]),
        'depths': [6 for _ in groups],  # the number of groups is all that they say
        'num_heads': [table.shape[1] for table in tables],
        'mlp_ratio': _ratio(state['layers.0.swin1.mlp.fc1.weight']),
        'qkv_bias': 'layers.0.swin1.attn.qkv.bias' in state,
        'embed_dim': len(state['conv_first.weight']),
        'gc': len(state['layers.0.adjust1.weight']),
    }


def _window_network(state: StateDict, bias_table: Tensor) -> Block:
    """What SwinIR and DRCT share. Args: bias_table: ((2 * window - 1)^2, heads)."""
    in_chans = state['conv_first.weight'].shape[1]
    window = (math.isqrt(len(bias_table)) + 1) // 2
    if 'conv_before_upsample.0.weight' in state:
        upsampler = 'nearest+conv' if 'conv_up1.weight' in state else 'pixelshuffle'
    else:
        upsampler = 'pixelshuffledirect' if 'upsample.0.weight' in state else ''
    if upsampler == 'nearest+conv':
        upscale = 4 if 'conv_up2.weight' in state else 2
    elif upsampler == '':
        upscale = 1
    else:  # each convolution widens by the square of its step
        convs = [t for name, t in state.items() if re.fullmatch(r'upsample\.\d+\.weight', name)]
        inputs = [in_chans if upsampler == 'pixelshuffledirect' else conv.shape[1] for conv in convs]
        upscale = math.prod(math.isqrt(len(conv) // width) for conv, width in zip(convs, inputs))
    ape = state.get('absolute_pos_embed')
    return {
        'upscale': upscale,
        'in_chans': in_chans,
        'img_size': 2 * window if ape is None else math.isqrt(ape.shape[1]),
        'window_size': window,
        'upsampler': upsampler,
        'resi_connection': '1conv' if 'conv_after_body.weight' in state else '3conv',
        'ape': ape is not None,
        'patch_norm': 'patch_embed.norm.weight' in state,
    }


def _count(state: StateDict, pattern: str) -> int:
    """How many numbers the names have where the pattern has its group."""
    return len({match.group(1) for name in state if (match := re.match(pattern, name))})


def _ratio(weight: Tensor) -> float:
    """Outputs of a linear layer for each input, so that int(inputs * ratio) are the outputs."""
    outputs, inputs = weight.shape
    return next(ratio for ratio in (outputs / inputs, (outputs + 0.5) / inputs) if int(inputs * ratio) == outputs)


KNOWN = {  # a tensor that only this network has -> what tells its arguments
    'VAE_encoder.0.weight': _refvae,
    'b_fea_conv.0.weight': _spsrnet,  # before RRDBNet: its trunk is one, under names of 2018
    'layers.0.residual_group.blocks.0.attn.relative_position_bias_table': _swinir,
    'layers.0.swin1.attn.relative_position_bias_table': _drct,
    'body.0.conv1.weight': _msrresnet,
    'body.0.weight': _srvgg,
}
