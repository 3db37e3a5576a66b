"""A dry run: everything in an option file is built without values, and shapes are propagated through one step.

On PyTorch's `meta` device, tensors only have shapes. Checking that scale, channels, patch sizes, inputs and losses fit
together thus takes no memory and little time, and works for plugins too.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from aesop.archs import build_network
from aesop.errors import UserError
from aesop.losses import build_loss
from aesop.models.limits import GB, TRAINED, limit_weights, memory
from aesop.models.quantities import DERIVED, named, network_inputs, reads
from aesop.options import Options
from aesop.options.schema import about_loss
from aesop.registry import DATASETS, METRICS, did_you_mean

Problem = tuple[tuple[str, ...], str]
Key = tuple[str, ...]

INPUT_CHANNELS = ('num_in_ch', 'in_nc', 'in_chans', 'input_nc')
OUTPUT_CHANNELS = ('num_out_ch', 'out_nc', 'out_chans')
SCALES = ('upscale', 'scale')
BATCH = 2  # for BatchNorm


# Skipped because they keep the shape: PyTorch would run their meta kernels in Python, which takes most of a second.
SAME_SHAPE = {
    *(getattr(Tensor, name) for name in ('normal_', 'uniform_', 'fill_', 'zero_', 'mul_', 'erfinv_', 'clamp_', 'add_')),
    F.leaky_relu,
    F.relu,
    F.gelu,
    F.dropout,
}


class ShapesOnly(TorchFunctionMode):
    """On the `meta` device, in-place initialisers and elementwise functions return their input."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if function in SAME_SHAPE else function(*args, **(kwargs or {}))


class DataDependent(Exception):
    """A module needs actual values; what depends on it can only be checked when the run starts."""


def dry_run(model: Any, options: Options) -> list[Problem]:
    """Returns what does not fit together, each with its key.

    Args:
        model: the model class, which declares the networks and the generator's inputs.
    """
    with torch.device('meta'), ShapesOnly(), torch.no_grad():
        run = _DryRun(model, options)
        problems = list(dict.fromkeys(run.run()))
    if options.train and not problems:
        options.note_step_memory(*run.memory())
    return problems


class Kept(torch.autograd.graph.saved_tensors_hooks):
    """What the passes inside keep for their backward pass, beside the weights of `module`.

    Attributes:
        size: bytes; what lies in one storage counts once.
    """

    def __init__(self, module: nn.Module) -> None:
        self._seen = {id(t.untyped_storage()) for t in (*module.parameters(), *module.buffers())}
        self._storages: list[torch.UntypedStorage] = []  # an id is that of one thing as long as that is there
        self.size = 0
        super().__init__(self._note, lambda tensor: tensor)

    def _note(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if id(storage) not in self._seen:
            self._seen.add(id(storage))
            self._storages.append(storage)
            self.size += storage.nbytes()
        return tensor


class _DryRun:
    def __init__(self, model: Any, options: Options) -> None:
        self.model, self.options = model, options
        self.scale = options.scale
        self.entries_known = True
        blocks = options.datasets.values()
        self.channels = 1 if any(block.get('color') == 'y' for block in blocks) else 3
        self.weights = 0  # bytes, with what training needs beside each
        self.kept: dict[str, int] = {}  # bytes for the backward pass, by network, and of the largest loss

    def run(self) -> Iterator[Problem]:
        options, train = self.options, self.options.train
        nets: dict[str, nn.Module] = {}
        for name in self.model.network_names(dict(options)):
            key, block = (f'network_{name}',), getattr(options, f'network_{name}', None)
            if block is not None:
                with limit_weights(TRAINED if train else 1):
                    nets[name] = yield from _built(key, build_network, block)
        losses: dict[str, tuple[Key, nn.Module, tuple[str, ...]]] = {}
        for name, key, block, of, adversarial in loss_blocks(train) if train else ():
            with limit_weights():
                loss = yield from _built(key, build_loss, block)
            if loss is None:
                continue
            if getattr(loss, 'adversarial', False) != adversarial:
                what = 'an adversarial loss' if not adversarial else 'not an adversarial loss'
                yield (*key, 'type'), f'{block["type"]} is {what}'
            elif not adversarial:
                try:
                    losses[name] = key, loss, reads(loss, block.of or of)
                except (UserError, TypeError) as error:
                    yield key, str(error)
            yield from self._loss_scale(key, loss, block)
            if block.get('reduction') == 'none':
                yield (*key, 'reduction'), "none returns an image, but training needs a scalar: use 'mean' or 'sum'"
        nets = {name: net for name, net in nets.items() if net is not None}
        if train:
            self._weigh(nets, [loss for _, loss, _ in losses.values()])
            yield from self._missing_networks(nets)
        patch, patch_key = self._patch()
        yield from self._metric_problems()
        if patch is None:
            return
        if self.scale and patch % self.scale:
            yield patch_key, f'{patch} is not a multiple of the scale, {self.scale}'
            return
        batch = options.datasets['train'].batch_size_per_gpu if 'train' in options.datasets else 1
        size, available = 4 * 3 * batch * patch**2, memory()
        if available is not None and size > available:
            what = f'{batch} images of {patch}x{patch} pixels take {size / GB:.3g} GB'
            yield patch_key, f'{what}, but this machine has {available / GB:.3g} GB'
            return
        try:
            yield from self._pass_through(nets, losses, patch, patch_key)
        except DataDependent:
            return

    def _weigh(self, nets: Mapping[str, nn.Module], losses: Sequence[Any]) -> None:
        average = [nets['g']] if 'g' in nets and self.options.training.ema_decay else []
        trained = [p for net in nets.values() for p in net.parameters()]
        self.weights = sum(p.nbytes * (TRAINED if p.requires_grad else 1) for p in trained)
        self.weights += sum(
            p.nbytes for net in (*average, *losses) if isinstance(net, nn.Module) for p in net.parameters()
        )

    def memory(self) -> tuple[int, int]:
        """Bytes that a training step takes at least: of weights with gradients, optimiser and average; and of what the
        backward passes need. The generator's is there all the time, the losses' one after the other, the
        discriminators' after them, of real images and of fake ones."""
        kept = dict(self.kept)
        judging = 2 * sum(size for name, size in kept.items() if name.startswith('d'))
        size = kept.get('g', 0) + max(judging, kept.get('loss', 0))
        batch = self.options.datasets['train'].batch_size_per_gpu if 'train' in self.options.datasets else 0
        half = self.options.runtime.precision != 'fp32'
        return self.weights, size * batch // (2 * BATCH if half else BATCH)

    def _call(self, what: str, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Calls a module with gradients, as training does, and notes what it keeps for the backward pass."""
        kept = Kept(module)
        with torch.enable_grad(), kept:
            outcome = _call(module, *args, **kwargs)
        self.kept[what] = max(self.kept.get(what, 0), kept.size)
        return outcome

    def _missing_networks(self, nets: Mapping[str, nn.Module]) -> Iterator[Problem]:
        """Losses or optimisers of a missing discriminator, or required discriminators that are missing."""
        options = self.options
        name = options.model_type or self.model.__name__
        for which in self.model.network_names(dict(options)):
            if which == 'g' or getattr(options, f'network_{which}', None) is not None:
                continue
            optional = f'network_{which}' not in self.model.needed('train')
            if not optional and options.model_type:
                yield ('model_type',), f'{name} trains a discriminator: network_{which} is missing'
            for key in (f'optim_{which}', f'gan{which[1:]}_opt'):
                if optional and getattr(options.train, key, None) is not None:
                    yield ('train', key), f'is for network_{which}, which is missing'

    def _loss_scale(self, key: Key, part: Any, block: Mapping[str, Any]) -> Iterator[Problem]:
        """Whether a loss works at the scale of the options."""
        scale = getattr(part, 'scale', None) or getattr(getattr(part, 'ae', None), 'scale', None)
        if isinstance(scale, int) and self.scale and scale != self.scale:
            yield _scale_problem(key, block, scale, self.scale)

    def _metric_problems(self) -> Iterator[Problem]:
        """Checks the scale and channels that metrics name; they are not built because they load weights."""
        for name, block in self.options.val.metrics.items():
            argument = inspect.signature(METRICS.get(block.type)).parameters.get('scale')
            scale = block.get('scale', argument.default) if argument is not None else None
            if isinstance(scale, int) and self.scale and scale != self.scale:
                yield _scale_problem(('val', 'metrics', name), block, scale, self.scale)
            key, part = ('val', 'metrics', name, 'autoencoder_arch'), block.get('autoencoder_arch')
            while isinstance(part, Mapping):
                for argument in (*INPUT_CHANNELS, *OUTPUT_CHANNELS):
                    if part.get(argument, 3) != 3:
                        yield (*key, argument), f'is {part[argument]}, but the images have 3, RGB'
                key, part = (*key, 'dec_opt'), part.get('dec_opt')

    def _patch(self) -> tuple[int | None, Key]:
        """The side of a training patch at HR, and its key; if the degradation runs on the device, its output's."""
        if self.options.gt_size:
            return self.options.gt_size, ('gt_size',)
        block = self.options.datasets.get('train')
        patch = block.get('gt_size') if block is not None else None
        key = ('datasets', 'train', 'gt_size')
        if patch is None and block is None and self.options.network_g is not None:
            patch = 16 * (self.scale or 4)  # no data set: fits any generator; discriminators are skipped
            key = ('network_g',)
        return (patch if isinstance(patch, int) and patch > 0 else None), key

    def _batch(self, patch: int, scale: int) -> dict[str, Tensor]:
        """The entries of a training batch; images of unknown size get that of the ground truth."""
        block = self.options.datasets.get('train')
        names: Sequence[str] = ('lq', 'gt')
        if block is not None:
            entries = getattr(DATASETS.get(block.type), 'entries', None)
            names = entries(block) if entries is not None else names
            # A plugin's data set may have entries that it does not declare.
            kind = DATASETS.get(block.type)
            self.entries_known = kind.__module__.startswith('aesop.') or 'entries' in vars(kind)
        shape = {'lq': patch // scale, 'gt': patch}
        return {
            name: torch.rand(BATCH, self.channels, shape.get(name, patch), shape.get(name, patch)) for name in names
        }

    def _pass_through(
        self, nets: Mapping[str, nn.Module], losses: Mapping[str, Any], patch: int, patch_key: Key
    ) -> Iterator[Problem]:
        net = nets.get('g')
        own = getattr(net, 'scale', None)
        known: dict[str, Any] = self._batch(patch, self.scale or own or 1)
        if net is not None:
            if isinstance(own, int) and self.scale and own != self.scale:
                yield _scale_problem(('network_g',), self.options.network_g, own, self.scale)
                return
            takes = self.model.inputs or getattr(net, 'inputs', ('lq',))
            outputs = yield from self._check_generator(
                net, takes, known, {n for _, _, names in losses.values() for n in names}
            )
            if outputs is None:
                return
            known |= outputs
            if not self.scale:
                known['gt'] = torch.rand_like(outputs['sr'])
        elif 'sr' not in known:
            known['sr'] = known['gt']
        for which, branch in nets.items():
            if which.startswith('d') and patch_key != ('network_g',):
                outputs = yield from self._check_discriminator(which, branch, known, patch, patch_key)
                if outputs is not None:
                    kinds = (f'{kind}{which[1:]}_' for kind in ('real', 'fake'))
                    known |= {kind + name: value for kind in kinds for name, value in outputs.items()}
        for key, loss, names in losses.values():
            yield from self._check_loss(key, loss, names, known, complete=net is not None)

    def _check_generator(
        self, net: nn.Module, takes: Sequence[str], known: Mapping[str, Any], read: set[str]
    ) -> Iterator[Problem]:
        key, block = ('network_g',), self.options.network_g
        try:
            inputs = network_inputs(net, takes, known)
        except KeyError as error:
            if not self.entries_known:
                raise DataDependent from error
            (name,) = error.args
            yield key, f'{block.type} takes {name}, which the data set does not have{_near(name, known)}'
            return None
        optional_outputs = getattr(net, 'optional_outputs', ())
        also = tuple(name for name in optional_outputs if name in read)
        inputs |= {'also': also} if also else {}
        try:
            outputs = named(self._call('g', net, **inputs))
        except UserError as error:
            yield from self._input_problems(net, block, takes, error)
            return None
        sr, gt = outputs.get('sr'), known.get('gt')
        if not isinstance(sr, Tensor):
            yield key, f'{block.type} returns {", ".join(outputs)}, but no sr'
            return None
        if gt is not None and self.scale and self.options.train and sr.ndim == 4:
            taken = known[takes[0]]
            if sr.shape[-2:] != gt.shape[-2:]:
                factor, rest = divmod(sr.shape[-1], taken.shape[-1])
                if 'lr' in getattr(net, 'optional_outputs', ()):
                    if not self.options.model_type:
                        return None
                    yield key, f'{block.type} is an auto-encoder, but {self.options.model_type} upscales images'
                elif rest == 0:
                    yield _scale_problem(key, block, factor, self.scale)
                else:
                    yield (
                        key,
                        f'{block.type} maps images of {tuple(taken.shape[-2:])} pixels to {tuple(sr.shape[-2:])}',
                    )
                return None
        checked = self.options.train or self.options.datasets
        if gt is not None and checked and sr.ndim == 4 and sr.shape[1] != gt.shape[1]:
            where = next(((*key, n) for n in OUTPUT_CHANNELS if n in block), key)
            yield where, f'{block.type} outputs {_channels(sr.shape[1])}, but the images have {self._image_channels()}'
            return None
        return outputs

    def _image_channels(self) -> str:
        return 'one channel' if self.channels == 1 else '3, RGB'

    def _input_problems(self, net: nn.Module, block: Any, takes: Sequence[str], error: UserError) -> Iterator[Problem]:
        """Why a generator does not accept the images: the channels, or the error that it raised."""
        key = next((('network_g', n) for n in INPUT_CHANNELS if n in block), ('network_g',))
        given = block.get(key[-1])
        if isinstance(given, int) and given != self.channels:
            yield key, f'is {given}, but the images have {self._image_channels()}'
        else:
            yield ('network_g',), f'{block.type} does not accept {", ".join(takes)} of these shapes: {error}'

    def _check_discriminator(
        self, which: str, net: nn.Module, known: Mapping[str, Any], patch: int, patch_key: Key
    ) -> Iterator[Problem]:
        key, block = (f'network_{which}',), getattr(self.options, f'network_{which}')
        channel_key = next(((*key, n) for n in INPUT_CHANNELS if n in block), None)
        if channel_key and block.get(channel_key[-1]) != self.channels:
            given = block.get(channel_key[-1])
            yield channel_key, f'is {given}, but the images have {self._image_channels()}'
            return None
        try:
            outputs = self._call(which, net, known['gt'])
        except UserError as error:
            yield patch_key, f'{patch} does not fit network_{which}: {block.type}: {error}'
            return None
        outputs = dict(outputs) if isinstance(outputs, Mapping) else {'logits': outputs}
        if 'logits' not in outputs:
            yield key, f'{block.type} returns {", ".join(outputs)}, but no logits'
            return None
        return outputs

    def _check_loss(
        self, key: Key, loss: nn.Module, names: Sequence[str], known: Mapping[str, Any], complete: bool
    ) -> Iterator[Problem]:
        values = []
        for name in names:
            source, _, kind = name.rpartition('_')
            if name in known:
                values.append(known[name])
            elif kind == 'ema' and source in known and not self.options.training.ema_decay:
                yield key, 'needs the moving average of the generator: set ema_decay, e.g. 0.999'
                return
            elif kind in DERIVED and source in known:
                values.append(known[source])
            elif complete and self.entries_known:
                yield key, f'{type(loss).__name__} reads {name}, which nothing provides.{_near(name, known)}'
                return
            else:
                return
        try:
            value = self._call('loss', loss, *map(_leaf, values))
        except UserError as error:
            yield key, f'{type(loss).__name__} does not accept {", ".join(names)}: {error}'
            return
        for term in value.values() if isinstance(value, Mapping) else [value]:
            if isinstance(term, Tensor) and term.ndim:
                yield (
                    key,
                    f'{type(loss).__name__} returns a tensor of shape {tuple(term.shape)}, but training needs a scalar',
                )
                return


def _built(key: Key, build: Any, block: Any) -> Iterator[Problem]:
    """Builds the network or loss of a block; returns None if there are problems."""
    try:
        return build(block)
    except UserError as error:
        for problem in error.problems:
            yield key, problem
    except Exception as error:  # a module may raise anything for unexpected shapes
        if 'meta' not in str(error).lower():
            yield key, f'{block.type} cannot be built: {_line(error)}'
    return None


def _call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """module(...); UserError if the shapes do not fit, DataDependent if it needs values."""
    try:
        return module(*args, **kwargs)
    except UserError:
        raise
    except Exception as error:  # a module may raise anything for unexpected shapes
        if 'meta' in str(error).lower() or 'scalartype' in str(error).lower():  # the latter: autocast
            raise DataDependent from error
        raise UserError(_line(error)) from error


def _leaf(value: Any) -> Any:
    """What a loss is given in a step: outputs of networks without the graphs behind them."""
    return value.detach().requires_grad_() if isinstance(value, Tensor) and value.requires_grad else value


def _line(error: Exception) -> str:
    return str(error).strip().split('\n')[0][:200] or type(error).__name__


def _near(name: str, known: Mapping[str, Any]) -> str:
    return did_you_mean(name, list(known)) or f' Available: {", ".join(known)}.'


def _channels(count: int) -> str:
    return 'one channel' if count == 1 else f'{count} channels'


def _scale_problem(key: Key, block: Mapping[str, Any], scale: int, wanted: int) -> Problem:
    """Reports a different scale, at the innermost block that sets it."""
    for name in ('autoencoder_arch', 'dec_opt'):
        if isinstance(block.get(name), Mapping):
            block, key = block[name], (*key, name)
    name = next((name for name in SCALES if name in block), None)
    where = key if name is None else (*key, name)
    return where, f'{block["type"]} has {name or "scale"} {scale}, but the options set `scale: {wanted}`'


def loss_blocks(train: Any) -> Iterator[tuple[str, Key, Any, Any, bool]]:
    """(name, key, block, default `of`, whether adversarial) of each loss of a train block."""
    for key, field in type(train).model_fields.items():
        about, block = about_loss(field), getattr(train, key)
        if about and block is not None:
            yield about['loss'], ('train', key), block, about['of'], about['adversarial']
    for name, block in train.losses.items():
        yield name, ('train', 'losses', name), block, None, False
