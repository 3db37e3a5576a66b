"""Files of weights and training states: written atomically, verified when read, parameter names normalised."""

import logging
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from aesop.errors import Unavailable, UserError
from aesop.utils import safetensors
from aesop.utils.files import atomic
from aesop.utils.hub import PREFIX, hub_file

logger = logging.getLogger(__name__)

StateDict = dict[str, Tensor]

PACKAGED = Path(__file__).parents[1] / 'weights'
PRETRAINED = Path('experiments/pretrained_models')  # the folder of the files in weights.yml
COMPUTED = ('attn_mask', 'relative_position_index')  # buffers in files that the network computes itself


def save(obj: Any, path: str | Path, metadata: dict[str, str] | None = None) -> None:
    """Writes a nested dict of tensors, numbers, strings and lists atomically.

    For a path ending in `.safetensors`, `obj` is a flat dict of tensors, and `metadata` goes into the header.

    Raises:
        UserError: the file cannot be written (no space, no permission, ...); the old file is kept.
    """
    path = Path(path)
    content = None
    if path.suffix == '.safetensors':
        content = safetensors.to_bytes(obj, metadata)
    try:
        with atomic(path) as aside, open(aside, 'wb') as file:
            torch.save(obj, file) if content is None else file.write(content)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise UserError(f'{path} could not be written ({error}): check the free space and the permissions') from error


def load(path: str | Path) -> Any:
    """Reads what `save` or `torch.save` wrote, to the CPU. No code is run, and every checksum is verified.

    A path ending in `.safetensors` gives a flat dict of tensors; that format has no checksums.

    Args:
        path: a path, or a name known to `find_weights`.

    Raises:
        UserError: the file is missing, truncated, corrupted, or would run code.
    """
    path = find_weights(path)
    if not path.is_file():
        what = 'not a file' if path.exists() else 'file not found'
        raise Unavailable(f'{path}: {what}; check the path')
    damaged = f'{path} is damaged ({{}}): copy or download it again, or use an earlier file'
    if path.stat().st_size == 0:
        raise UserError(damaged.format('it is empty'))
    if path.suffix == '.safetensors':
        try:
            return safetensors.read(path)[0]
        except Exception as error:
            raise UserError(damaged.format(error)) from error
    zipped = False
    try:
        zipped = zipfile.is_zipfile(path)
        if zipped:
            with zipfile.ZipFile(path) as archive:  # torch.load does not verify the checksums
                record = archive.testzip()
            if record:
                raise zipfile.BadZipFile(f'wrong checksum of {record}')
        return torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        culprit = re.search(r'GLOBAL (\S+)', str(error))
        if not zipped and not culprit:
            raise UserError(damaged.format('truncated, or not a PyTorch file')) from error
        what = f' ({culprit.group(1)})' if culprit else ''
        raise UserError(
            f'{path} is refused: it contains more than tensors and plain values{what}, and loading it could run code. '
            'If you trust its source, load it there with weights_only=False and save its state dict alone'
        ) from error
    except Exception as error:  # a damaged file can fail in many ways
        reason = str(error).strip().split('\n')[0] or type(error).__name__
        raise UserError(damaged.format(reason)) from error


def manifest() -> dict[str, dict[str, Any]]:
    """The published weights listed in `weights.yml`, by name: file, purpose, url or page, licence, ..."""
    return yaml.safe_load(Path(__file__).with_name('weights.yml').read_text(encoding='utf-8'))


def find_weights(name: str | Path) -> Path:
    """Resolves a path, a name in `weights.yml` (a file in PRETRAINED), the name of weights shipped with the package
    (`aesop_ae_x4`), or a Hub address (`hf://owner/repository[@revision][/file]`).

    Raises:
        UserError: the file of such a name or address is missing.
    """
    if str(name).startswith(PREFIX):
        return hub_file(str(name))
    packaged = PACKAGED / f'{name}.safetensors'
    if packaged.is_file() and not Path(name).is_file():
        return packaged
    entry = None if Path(name).is_file() else manifest().get(str(name))
    if entry is None:
        return Path(name)
    path = PRETRAINED / entry['file']
    if not path.is_file():
        raise Unavailable(f'{name}: file {path} not found; get it with `aesop download {name}`')
    return path


def download_advice(path: str | Path) -> str | None:
    """How to get a file of this name, if it is listed in `weights.yml`."""
    name = next((name for name, entry in manifest().items() if entry['file'] == Path(path).name), None)
    folder = '' if Path(path).parent == PRETRAINED else f', which puts it into {PRETRAINED}'
    return name and f'Get it with `aesop download {name}`{folder}'


def network_state_dict(net: nn.Module) -> StateDict:
    """A copy of `net`'s tensors on the CPU under their published names, without prefixes of DDP and torch.compile.

    An auto-encoder's encoder appears under both of its published names; each pair shares memory.
    """
    state = {_clean(name): tensor.detach().to('cpu', copy=True) for name, tensor in net.state_dict().items()}
    for prefix, alias in _aliases(net):
        state |= {alias + name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
    return state


def save_network(
    path: str | Path,
    params: StateDict,
    params_ema: StateDict | None = None,
    metadata: dict[str, str] | None = None,
) -> None:
    """Writes weights in BasicSR's format: `params`, and `params_ema` if there is an average.

    A `.safetensors` file has no entries: it takes `params` only, with `metadata` in its header.
    """
    if Path(path).suffix == '.safetensors':
        assert params_ema is None, 'one set of weights per file'
        save(params, path, metadata)
    else:
        save({'params': params} if params_ema is None else {'params': params, 'params_ema': params_ema}, path)


def read_weights(path: str | Path, key: str | None = 'params') -> tuple[StateDict, str | None]:
    """The weights in a file, without wrapper prefixes, and the entry they were taken from (None: a bare state dict).

    Args:
        key: the entry to take: `params`, `params_ema`, or None for a bare state dict. If the file has no such entry,
            the others are tried, and the one taken is logged.

    Raises:
        UserError: the file cannot be read, or contains no network.
    """
    found, used = _entry(load(path), key)
    if found is None:
        raise UserError(f'{path} has no network weights: neither `{key}` nor params, params_ema, net_g or generator')
    taken = f'`{used}`' if used else 'the bare state dict'
    logger.info('%s: using %s%s', path, taken, '' if used == key else f', it has no `{key}`')
    return {_clean(name): tensor for name, tensor in found.items() if not _computed(name)}, used


def load_network(net: nn.Module, path: str | Path, key: str | None = 'params', strict: bool = True) -> None:
    """Loads published weights, or ours, into `net`: `read_weights` followed by `load_params`."""
    load_params(net, read_weights(path, key)[0], path, strict, advice=', or load what fits with strict_load: false')


def load_params(net: nn.Module, found: StateDict, path: str | Path, strict: bool = True, advice: str = '') -> None:
    """Loads weights that `read_weights` found at `path` into `net`, which may be wrapped in DDP or compiled.

    Args:
        strict: names and shapes must match exactly; otherwise the tensors that match are loaded and the others are
            logged. Buffers that the network computes (COMPUTED) are ignored.
        advice: appended to the message if some of the weights match.

    Raises:
        UserError: the weights are those of a different network.
    """
    actual = {_clean(name): name for name in net.state_dict()}
    wanted = {_clean(name): tensor.shape for name, tensor in net.state_dict().items() if not _computed(name)}
    found = match_names(found, net)
    for name, shape in wanted.items():  # DRCT's authors use 1x1 convolutions for linear layers
        if name in found and found[name].shape == (*shape, 1, 1):
            found[name] = found[name].reshape(shape)
    fitting = {name: found[name] for name in wanted if name in found and found[name].shape == wanted[name]}

    kind = type(_unwrapped(net)).__name__
    wrong = differences(found, wanted)
    if wrong and (strict or not fitting):
        raise UserError(
            f'{path} does not fit this {kind}: {wrong}. Check the path and the arguments of the network'
            + (advice if fitting else '')
        )
    if wrong:
        logger.warning('%s: loaded %d of the %d tensors of %s; %s', path, len(fitting), len(wanted), kind, wrong)
    net.load_state_dict({actual[name]: tensor for name, tensor in fitting.items()}, strict=False)


def differences(found: StateDict, wanted: dict[str, torch.Size]) -> str:
    """'2 missing (a, b); 1 unexpected (c)', or '' if names and shapes match."""
    wrong = {
        'missing': [name for name in wanted if name not in found],
        'unexpected': [name for name in found if name not in wanted],
        'of another size': [
            f'{name} {_size(tensor.shape)} instead of {_size(wanted[name])}'
            for name, tensor in found.items()
            if name in wanted and tensor.shape != wanted[name]
        ],
    }
    return '; '.join(
        f'{len(names)} {what} ({", ".join(names[:4])}{", ..." if len(names) > 4 else ""})'
        for what, names in wrong.items()
        if names
    )


def _entry(obj: Any, key: str | None) -> tuple[StateDict | None, str | None]:
    """The state dict inside `obj`, and the entry it was found under (None: `obj` itself is one)."""
    if not isinstance(obj, dict) or not obj:
        return None, None
    if all(isinstance(value, Tensor) for value in obj.values()):
        return obj, None
    for name in (key, 'params_ema', 'params', 'net_g', 'generator', 'state_dict'):
        if name in obj:
            state, inner = _entry(obj[name], key)
            if state is not None:
                return state, inner or name
    return None, None


def _unwrapped(net: Any) -> nn.Module:
    while True:
        if isinstance(net, DistributedDataParallel | nn.DataParallel):
            net = net.module
        elif hasattr(net, '_orig_mod'):  # torch.compile
            net = net._orig_mod
        else:
            return net


def _aliases(net: nn.Module) -> list[tuple[str, str]]:
    """Pairs (prefix in memory, other prefix in published files) declared by the network, if any.

    `published_aliases` of a network is {prefix in memory: another prefix, or a tuple of them}.
    """
    declared = getattr(_unwrapped(net), 'published_aliases', {})
    listed = {prefix: (others,) if isinstance(others, str) else others for prefix, others in declared.items()}
    return [(prefix, alias) for prefix, others in listed.items() for alias in others]


def _clean(name: str) -> str:
    """Strips wrapper prefixes: `_orig_mod.` (torch.compile) anywhere, `module.` (DDP) at the start."""
    name = name.replace('_orig_mod.', '')
    while name.startswith('module.'):
        name = name.removeprefix('module.')
    return name


def _computed(name: str) -> bool:
    return name.rsplit('.', 1)[-1] in COMPUTED


def match_names(state: StateDict, net: nn.Module) -> StateDict:
    """`state`, as returned by `read_weights`, under the names that `net` has in memory."""
    wanted = [name for name in map(_clean, net.state_dict()) if not _computed(name)]
    if 'linear1.weight' in wanted and 'features.0.weight' in state:
        state = vgg_discriminator_names(state)
    current = {esrgan_name(name): name for name in wanted}
    if 'body.0.rdb1.conv1.weight' in current:  # an RRDB network: all generations of names are equivalent
        state = {current.get(esrgan_name(name), name): tensor for name, tensor in state.items()}
    for prefix, alias in _aliases(net):
        second = {prefix + name.removeprefix(alias): t for name, t in state.items() if name.startswith(alias)}
        state = second | {name: t for name, t in state.items() if not name.startswith(alias)}
        if not any(name.startswith(prefix) for name in wanted):  # bicubic downsampling replaces the encoder
            unused = [name for name in state if name.startswith(prefix)]
            if unused:
                logger.info('the file has %d tensors %s* that this network does not use', len(unused), prefix)
            state = {name: t for name, t in state.items() if name not in unused}
    return state


def esrgan_name(name: str) -> str:
    """RRDBNet's name for one of ESRGAN's older names; other names are returned unchanged.

    2019, and BSRGAN: RRDB_trunk.N.RDB1.conv1, trunk_conv, upconv1, HRconv. 2018, and SPSR: a Sequential, where
    model.1.sub contains the blocks and a last convolution, model.3, model.6, ... follow the upsamplings, and after
    these each plain convolution is preceded by one activation.
    """
    stem, _, kind = name.rpartition('.')
    if match := re.fullmatch(r'(?:RRDB_trunk|model\.1\.sub)\.(\d+)\.RDB(\d)\.(conv\d(?:x1)?)(?:\.0)?', stem):
        return 'body.{}.rdb{}.{}.{}'.format(*match.groups(), kind)
    if re.fullmatch(r'trunk_conv|model\.1\.sub\.\d+', stem):
        return f'conv_body.{kind}'
    if match := re.fullmatch(r'upconv(\d)', stem):
        return f'conv_up{match.group(1)}.{kind}'
    if stem == 'HRconv':
        return f'conv_hr.{kind}'
    if match := re.fullmatch(r'model\.(\d+)', stem):
        ups, rest = divmod(int(match.group(1)), 3)  # (upsampling, convolution, activation) each; then 2 positions each
        return f'{("conv_up" + str(ups) if ups else "conv_first", "conv_last", "conv_hr")[rest]}.{kind}'
    return name


def vgg_discriminator_names(state: StateDict) -> StateDict:
    """VGGStyleDiscriminator's names for those in ESRGAN's and SPSR's first files: `features.N`, `classifier.0`, `.2`.

    There the layers of all stages are in one Sequential: convolution and activation, then convolution, batch
    normalisation and activation each. All convolutions have a bias, which the following batch normalisation removes;
    here only the first has one, so the biases of the others are folded into the running means.
    """
    renamed, biases = {}, {}
    for name, tensor in state.items():
        part, _, rest = name.partition('.')
        place, _, kind = rest.partition('.')
        if part == 'features':
            number, is_norm = divmod(int(place) - 2, 3) if int(place) else (-1, 0)
            layer = '{}_{}'.format(*divmod(number + 1, 2))
            if number >= 0 and not is_norm and kind == 'bias':
                biases[f'bn{layer}.running_mean'] = tensor
            else:
                renamed[f'{"bn" if is_norm else "conv"}{layer}.{kind}'] = tensor
        elif part == 'classifier':
            renamed[f'linear{1 + int(place) // 2}.{kind}'] = tensor
        else:
            renamed[name] = tensor
    return renamed | {name: renamed[name] - bias for name, bias in biases.items() if name in renamed}


def _size(shape: torch.Size) -> str:
    return 'x'.join(map(str, shape)) or 'scalar'
