"""How networks run: precision, memory layout, compilation. What they compute stays the same, up to rounding.

State-dict names never change, and every function works on networks in place.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.spectral_norm import SpectralNorm

from aesop.archs.layers import use_plain
from aesop.errors import UserError
from aesop.options import Options
from aesop.utils import distributed
from aesop.utils.devices import find_device, peak_memory  # noqa: F401  (their old place)

logger = logging.getLogger(__name__)

DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
THIN = 16  # channels


class Runtime:
    """What the block `runtime` asks for, done to the networks of a model.

    Attributes:
        dtype: what networks compute in at present; `validating` changes it for a while.
    """

    def __init__(self, options: Options, device: torch.device) -> None:
        asked = options.runtime
        self.device = device
        self.fast_blocks = asked.fast_blocks
        self.sync_bn = asked.sync_bn and distributed.world_size() > 1
        self.dtype, self._validation_dtype = DTYPES[asked.precision], DTYPES[options.val.precision]
        self.scales_losses = self.dtype == torch.float16
        self._casts = {self.dtype, self._validation_dtype} != {torch.float32}
        if device.type == 'cuda':
            torch.backends.cudnn.benchmark = asked.cudnn_benchmark
            if asked.tf32 is not None:
                torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = asked.tf32
            if self.dtype == torch.bfloat16 and not torch.cuda.is_bf16_supported():
                raise UserError('runtime.precision: this GPU has no bf16; take fp16')
            fast = self.dtype != torch.float32 or torch.backends.cudnn.allow_tf32  # tensor cores take channels last
        elif self.sync_bn:
            raise UserError('runtime.sync_bn is for GPUs: on CPUs BatchNorm sees the batch of its own rank; remove it')
        else:
            fast = True  # by a third less time for an RRDB's forward pass
        self.channels_last = fast if asked.channels_last == 'auto' else asked.channels_last
        self._compile = asked.compile if asked.compile and options.train and can_compile(device) else False

    def prepare(self, net: nn.Module) -> nn.Module:
        """`net` on the device, in the memory layout and with the precision asked for. Copies keep both."""
        net = net.to(self.device)
        if self.channels_last:
            net = net.to(memory_format=torch.channels_last)
        if not self.fast_blocks:
            use_plain(net)
        if self.sync_bn:
            net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
        if self._casts:
            self._run_in_precision(net)
        return net

    def prepare_loss(self, loss: nn.Module) -> nn.Module:
        """`loss` on the device; networks in it, which are frozen, are prepared, and hold what they compute with."""
        loss = loss.to(self.device)
        for net in loss.children():
            if is_frozen_network(net):
                self.prepare(net)
                hold(net, self.dtype)
                self.compile(net)
        return loss

    def compile(self, net: nn.Module | None) -> None:
        """Compiles `net` where the options say so; copies made later are not compiled."""
        if net is None or not self._compile:
            return
        if self._compile == 'max':
            net.compile(mode='max-autotune')
        else:
            for block in repeated_blocks(net):
                block.compile()

    def lay_out(self, images: Tensor) -> Tensor:
        """(N, C, H, W) on the device, in the memory layout of the networks."""
        images = images.to(self.device, non_blocking=True)
        if self.channels_last and images.ndim == 4:
            return images.contiguous(memory_format=torch.channels_last)
        return images

    def begin_step(self) -> None:
        if self._compile == 'max' and self.device.type == 'cuda':
            torch.compiler.cudagraph_mark_step_begin()  # outputs of the last step may be overwritten from here on

    @contextmanager
    def validating(self) -> Iterator[None]:
        """Inside, networks compute in `val.precision`, and not compiled: images come in many sizes."""
        training, self.dtype = self.dtype, self._validation_dtype
        try:
            with torch.inference_mode(), torch.compiler.set_stance('force_eager') if self._compile else nullcontext():
                yield
        finally:
            self.dtype = training

    def _run_in_precision(self, net: nn.Module) -> None:
        """Has `net` compute in `self.dtype` and give fp32. Thin layers, which take or make images or logits, compute
        in fp32 all the same: there rounding would show, and lower precision would gain nothing."""
        runtime = self

        def forward(net: nn.Module, *inputs: Any, **options: Any) -> Any:
            if runtime.dtype == torch.float32:
                return type(net).forward(net, *inputs, **options)
            with torch.autocast(runtime.device.type, runtime.dtype):
                return to_fp32(type(net).forward(net, *inputs, **options))

        def thin_forward(layer: nn.Module, x: Tensor) -> Tensor:
            with torch.autocast(x.device.type, enabled=False):
                out = type(layer).forward(layer, x.float())
            return out if x.shape[1] > out.shape[1] else out.to(runtime.dtype)

        # Bound to their modules, these are bound to the copies when a module is copied.
        net.forward = MethodType(forward, net)
        for layer in layers(net):
            if is_thin(layer):
                layer.forward = MethodType(thin_forward, layer)
        for layer in net.modules():  # the power iteration of spectral norm runs before the layer, inside the network
            for hook in layer._forward_pre_hooks.values():
                if isinstance(hook, SpectralNorm):
                    hook.compute_weight = torch.autocast(self.device.type, enabled=False)(hook.compute_weight)


def layers(net: nn.Module) -> list[nn.Module]:
    """The layers that make the products: convolutions and linear ones."""
    return [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def is_thin(layer: nn.Module) -> bool:
    outputs, inputs = layer.weight.shape[:2]
    return min(outputs, inputs * getattr(layer, 'groups', 1)) < THIN


def to_fp32(output: Any) -> Any:
    """The floating-point tensors of a network's output as fp32."""
    if isinstance(output, Tensor):
        return output.float() if output.is_floating_point() else output
    if isinstance(output, dict):
        return {name: to_fp32(value) for name, value in output.items()}
    return type(output)(map(to_fp32, output)) if isinstance(output, list | tuple) else output


def is_frozen_network(module: nn.Module) -> bool:
    return bool(layers(module)) and not any(parameter.requires_grad for parameter in module.parameters())


@torch.no_grad()
def hold(net: nn.Module, dtype: torch.dtype) -> None:
    """Turns the layers of a frozen network to `dtype`, all but the thin ones; and its convolutions into ones that keep
    nothing but their weights for the backward pass."""
    for layer in layers(net):
        if type(layer) is nn.Conv2d and layer.padding_mode == 'zeros' and not isinstance(layer.padding, str):
            layer.__class__ = FrozenConv2d
        if not is_thin(layer):
            for parameter in layer.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)


class FrozenConv2d(nn.Conv2d):
    """A convolution without gradients of its parameters. PyTorch's own keeps its input for them all the same."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x = x.to(weight.dtype)
        if not (torch.is_grad_enabled() and x.requires_grad):
            return super()._conv_forward(x, weight, bias)
        arguments = (self.stride, self.padding, self.dilation, False, (0, 0), self.groups)
        return _FrozenConvolution.apply(x, weight, bias, arguments)


class _FrozenConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, arguments: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.arguments = x.shape, arguments
        ctx.channels_last = x.is_contiguous(memory_format=torch.channels_last)
        return torch.convolution(x, weight, bias, *arguments)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        layout = torch.channels_last if ctx.channels_last else torch.contiguous_format
        x = torch.empty(ctx.shape, dtype=gradient.dtype, device=gradient.device, memory_format=layout)  # never read
        wanted = (True, False, False)
        x, _, _ = torch.ops.aten.convolution_backward(gradient, x, weight, None, *ctx.arguments, wanted)
        return x, None, None, None


def repeated_blocks(net: nn.Module) -> list[nn.Module]:
    """The smallest blocks that stand several times in a list of layers, such as RRDBs: compiled once, used often."""

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
    """Whether torch.compile works here, tried out; one line says where it does not."""
    try:
        if not hasattr(torch.compiler, 'set_stance'):
            raise RuntimeError('it takes PyTorch 2.6')
        torch.compile(_one_more)(torch.ones(8, device=device))
    except Exception as error:  # the compilers' errors have no common class
        reason = str(error).strip().split('\n')[0]
        logger.warning('runtime.compile has no effect: there is no working compiler for %s (%s)', device.type, reason)
        return False
    return True


def _one_more(x: Tensor) -> Tensor:
    return x + 1
