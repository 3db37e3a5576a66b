"""How networks run: device, precision, memory layout, compilation. Results stay the same up to rounding.

A trained network keeps fp32 weights and is called through `Precision.call`, under autocast. A frozen network in a loss
becomes a `FrozenNetwork`, with weights in the working precision and fp32 outputs. State-dict names of trained networks
never change.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aesop.archs.layers import use_plain
from aesop.errors import UserError
from aesop.options import Options
from aesop.utils import distributed
from aesop.utils.probe import check_bf16, choose_precision

logger = logging.getLogger(__name__)

DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
THIN = 16  # channels


class Precision:
    """Applies the options in `runtime` to the networks of a model.

    Args:
        chosen: what `auto` resolved to in the run being resumed, by option.

    Attributes:
        dtype: the current working precision; `validating` changes it temporarily.
        chosen: what `auto` resolved to, by option; part of a run's state.

    Raises:
        UserError: the device does not support the precision.
    """

    def __init__(self, options: Options, device: torch.device, chosen: Mapping[str, str] | None = None) -> None:
        asked = options.runtime
        self.device = device
        self.fast_blocks = asked.fast_blocks
        self.sync_bn = asked.sync_bn and distributed.world_size() > 1
        self.chosen: dict[str, str] = {}
        names = {'runtime.precision': asked.precision, 'val.precision': options.val.precision}
        for option, name in names.items():
            if name == 'auto':
                self.chosen[option] = names[option] = (chosen or {}).get(option) or choose(option, device)
            elif name == 'bf16' and device.type == 'cpu':
                check_bf16(option)
        self.dtype, self._validation_dtype = (DTYPES[name] for name in names.values())
        self.scales_losses = self.dtype == torch.float16
        self._casts = {self.dtype, self._validation_dtype} != {torch.float32}
        if device.type == 'cuda':
            torch.backends.cudnn.benchmark = asked.cudnn_benchmark
            if asked.tf32 is not None:
                torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = asked.tf32
            if self.dtype == torch.bfloat16 and not torch.cuda.is_bf16_supported():
                raise UserError('runtime.precision: this GPU does not support bf16; use fp16')
            fast = (
                self.dtype != torch.float32 or torch.backends.cudnn.allow_tf32
            )  # tensor cores are faster with channels last
        elif self.sync_bn:
            raise UserError('runtime.sync_bn is for GPUs: on CPUs, BatchNorm uses the batch of its own rank; remove it')
        else:
            fast = True  # an RRDB's forward pass takes a third less time
        self.channels_last = fast if asked.channels_last == 'auto' else asked.channels_last
        self._compile = asked.compile if asked.compile and options.train and can_compile(device) else False

    def prepare(self, net: nn.Module) -> nn.Module:
        """Moves `net` to the device in the chosen memory layout; thin layers stay in fp32. Copies inherit this."""
        net = net.to(self.device)
        if self.channels_last:
            net = net.to(memory_format=torch.channels_last)
        if not self.fast_blocks:
            use_plain(net)
        if self.sync_bn:
            net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
        return keep_thin_layers_in_fp32(net) if self._casts else net

    def prepare_loss(self, loss: nn.Module) -> nn.Module:
        """Moves `loss` to the device; frozen networks in it, however nested, are cast and return fp32."""
        loss = loss.to(self.device)
        for parent, name, net in list(frozen_networks(loss)):
            net = cast_frozen(self.prepare(net), self.dtype)
            self.compile(net)
            setattr(parent, name, net if self.dtype == torch.float32 else FrozenNetwork(net, self.dtype))
        return loss

    def compile(self, net: nn.Module | None) -> None:
        """Compiles `net` if enabled in the options; copies made later are not compiled."""
        if net is None or not self._compile:
            return
        if self._compile == 'max':
            net.compile(mode='max-autotune')
        else:
            for block in repeated_blocks(net):
                block.compile()

    def call(self, net: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """net(...) in the working precision, with fp32 outputs."""
        if self.dtype == torch.float32:
            return net(*args, **kwargs)
        with torch.autocast(self.device.type, self.dtype):
            return to_fp32(net(*args, **kwargs))

    def to_device(self, images: Tensor) -> Tensor:
        """Moves (N, C, H, W) images to the device, in the memory layout of the networks."""
        images = images.to(self.device, non_blocking=True)
        if self.channels_last and images.ndim == 4:
            return images.contiguous(memory_format=torch.channels_last)
        return images

    def begin_step(self) -> None:
        if self._compile == 'max' and self.device.type == 'cuda':
            torch.compiler.cudagraph_mark_step_begin()  # outputs of the previous step may be overwritten from now on

    @contextmanager
    def validating(self) -> Iterator[None]:
        """Inside, networks compute in `val.precision` and are not compiled, because image sizes vary."""
        training, self.dtype = self.dtype, self._validation_dtype
        try:
            with torch.inference_mode(), torch.compiler.set_stance('force_eager') if self._compile else nullcontext():
                yield
        finally:
            self.dtype = training


def choose(option: str, device: torch.device) -> str:
    """Resolves `auto` for this device, the same on all ranks, and logs the reason."""
    if device.type == 'meta':
        return 'fp32'
    name, why = distributed.on_main(lambda: choose_precision(device))
    if distributed.is_main():
        logger.info('%s: auto selected %s (%s)', option, name, why)
    return name


# Layers with fewer than THIN input or output channels process images or logits: rounding would be visible there, and
# low precision would gain nothing.


class FP32Conv2d(nn.Conv2d):
    """A convolution that stays in fp32 under autocast. If its input is an image, its output has autocast's dtype."""

    def forward(self, input: Tensor) -> Tensor:
        device = input.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else input.dtype
        with torch.autocast(device, enabled=False):
            out = super().forward(input.float())
        return out if input.shape[1] > out.shape[1] else out.to(dtype)


class FP32Linear(nn.Linear):
    """A linear layer that stays in fp32 under autocast."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float())


def keep_thin_layers_in_fp32(net: nn.Module) -> nn.Module:
    """Replaces thin convolutions and linear layers of `net` with ones that stay in fp32 under autocast."""
    if is_thin(net):
        return _in_fp32(net)
    for parent in list(net.modules()):
        for name, layer in list(parent.named_children()):
            if is_thin(layer):
                setattr(parent, name, _in_fp32(layer))
    return net


def _in_fp32(layer: Any) -> nn.Module:
    if isinstance(layer, nn.Conv2d):
        return _same_parameters(layer, conv_like(FP32Conv2d, layer))
    shape = layer.in_features, layer.out_features
    return _same_parameters(layer, nn.utils.skip_init(FP32Linear, *shape, bias=layer.bias is not None))


def conv_like(kind: type[nn.Conv2d], layer: nn.Conv2d) -> Any:
    """A convolution of this kind with the arguments of `layer`."""
    names = ('in_channels', 'out_channels', 'kernel_size', 'stride', 'padding', 'dilation', 'groups', 'padding_mode')
    return nn.utils.skip_init(kind, **{name: getattr(layer, name) for name in names}, bias=layer.bias is not None)


def _same_parameters(old: nn.Module, new: Any) -> Any:
    """`new` with the same parameters (shared) and training mode as `old`."""
    for name, parameter in old.named_parameters(recurse=False):
        setattr(new, name, parameter)
    return new.train(old.training)


def layers(net: nn.Module) -> list[nn.Module]:
    """The convolutions and linear layers of `net`."""
    return [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def is_thin(layer: nn.Module) -> bool:
    if type(layer) is nn.Conv2d:
        return min(layer.out_channels, layer.in_channels) < THIN
    return type(layer) is nn.Linear and min(layer.out_features, layer.in_features) < THIN


def to_fp32(output: Any) -> Any:
    """The floating-point tensors of a network's output as fp32."""
    if isinstance(output, Tensor):
        return output.float() if output.is_floating_point() else output
    if isinstance(output, dict):
        return {name: to_fp32(value) for name, value in output.items()}
    return type(output)(map(to_fp32, output)) if isinstance(output, list | tuple) else output


class FrozenNetwork(nn.Module):
    """Runs a frozen network in `dtype` and returns fp32; other attributes are forwarded to the network."""

    def __init__(self, net: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.net, self.dtype = net, dtype

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__('net'), name)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(x.device.type, self.dtype):
            return to_fp32(self.net(x, *args, **kwargs))


def frozen_networks(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """(parent, name, network) of the outermost fully frozen networks inside `module`."""
    for name, child in module.named_children():
        is_container = isinstance(child, nn.ModuleList | nn.ModuleDict)
        if not is_container and layers(child) and not any(p.requires_grad for p in child.parameters()):
            yield module, name, child
        else:
            yield from frozen_networks(child)


def cast_frozen(net: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Casts the layers of a frozen `net` that are not thin to `dtype`, and replaces its convolutions with ones saving
    only their weights for the backward pass."""
    for parent in list(net.modules()):
        for name, layer in list(parent.named_children()):
            if not isinstance(layer, nn.Conv2d | nn.Linear):
                continue
            thin = is_thin(layer) or isinstance(layer, FP32Conv2d | FP32Linear)
            plain = type(layer) in (nn.Conv2d, FP32Conv2d) and layer.padding_mode == 'zeros'
            if isinstance(layer, nn.Conv2d) and plain and not isinstance(layer.padding, str):
                layer = _same_parameters(layer, conv_like(FrozenConv2d, layer))
                layer.rounds_output = thin and layer.in_channels <= layer.out_channels
                setattr(parent, name, layer)
            if not thin:
                layer.to(dtype)
    return net


class FrozenConv2d(nn.Conv2d):
    """A convolution without parameter gradients, for which nn.Conv2d would save its input even if frozen.

    Computes in the precision of its weights, regardless of autocast.

    Attributes:
        rounds_output: return the output in autocast's dtype, if enabled.
    """

    rounds_output = False

    def forward(self, input: Tensor) -> Tensor:
        device = input.device.type
        rounded = self.rounds_output and torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if rounded else None
        with torch.autocast(device, enabled=False):
            out = self._convolve(input.to(self.weight.dtype))
        return out if dtype is None else out.to(dtype)

    def _convolve(self, x: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and x.requires_grad):
            return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        arguments = (self.stride, self.padding, self.dilation, False, (0, 0), self.groups)
        return _FrozenConvolution.apply(x, self.weight, self.bias, arguments)


class _FrozenConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, arguments: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.arguments = x.shape, arguments
        ctx.channels_last = x.is_contiguous(memory_format=torch.channels_last)
        return torch.convolution(x, weight, bias, *arguments)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  (as torch's documentation has it)
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        layout = torch.channels_last if ctx.channels_last else torch.contiguous_format
        x = torch.empty(ctx.shape, dtype=gradient.dtype, device=gradient.device, memory_format=layout)  # never read
        wanted = (True, False, False)
        x, _, _ = torch.ops.aten.convolution_backward(gradient, x, weight, None, *ctx.arguments, wanted)
        return x, None, None, None


def repeated_blocks(net: nn.Module) -> list[nn.Module]:
    """The innermost blocks that are repeated in a list of layers, such as RRDBs: compiled once, used often."""

    def blocks(module: nn.Module) -> list[nn.Module]:
        inner = [block for child in module.children() for block in blocks(child)]
        if inner or not isinstance(module, nn.Sequential | nn.ModuleList):
            return inner
        whole = [child for child in module if any(True for _ in child.children()) and not is_list(child)]
        return [child for child in whole if sum(type(other) is type(child) for other in whole) > 1]

    return blocks(net)


def is_list(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential | nn.ModuleList)


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile works here (it is tried); logs a warning if not."""
    try:
        if not hasattr(torch.compiler, 'set_stance'):
            raise RuntimeError('it needs PyTorch 2.6')
        torch.compile(_add_one)(torch.ones(8, device=device))
    except Exception as error:  # the compilers' errors have no common class
        reason = str(error).strip().split('\n')[0]
        logger.warning('runtime.compile has no effect: there is no working compiler for %s (%s)', device.type, reason)
        return False
    return True


def _add_one(x: Tensor) -> Tensor:
    return x + 1
