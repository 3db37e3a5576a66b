"""Writes a network for other programs, and compares what was written with PyTorch before it takes its place.

The end of its name decides the format:
  .safetensors  the tensors under their published names; the header says what network they are of
  .onnx         `lq` (1, 3, h, w) -> `sr`, RGB in [0, 1]; any h and w, unless the network is of one size (`ape: true`)
  .pth          a file that the package spandrel recognises: RRDBNet and its older names (32 growth channels), SwinIR,
                DRCT, SRVGGNetCompact (PReLU)
They need the packages of `pip install 'aesop-sr[export]'`.
"""

import contextlib
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aesop.archs.drct import DRCT
from aesop.archs.pretrained import metadata
from aesop.errors import UserError
from aesop.utils import checkpoint
from aesop.utils.files import atomic

Run = Callable[[Tensor], Tensor]
TOLERANCE = 1e-4  # of the largest output, or of 1: well below half a step of 8 bits
TRACED = (37, 21)  # height and width; no multiples of anything, so that all padding is in the graph


def export(net: Any, path: Path, block: Mapping[str, Any] | None = None) -> float:
    """Writes a network in evaluation mode in the format of the path's suffix; nothing is left of a wrong file.

    Args:
        block: what `build_network` made `net` of; it goes into the header of a safetensors file.

    Returns:
        The largest absolute difference between the outputs of the file and of `net`.

    Raises:
        UserError: unknown format, a package is missing, the format cannot hold the network, or the outputs differ.
    """
    if path.suffix not in FORMATS:
        raise UserError(f'{path}: the end of the name says the format: {", ".join(FORMATS)}')
    if not hasattr(net, 'scale'):
        raise UserError(f'{type(net).__name__} is no super-resolution network or auto-encoder: only these are exported')
    write, read, sizes = FORMATS[path.suffix]
    if getattr(net, 'img_size', None):
        sizes = [(net.img_size, net.img_size)]
    if write is write_tensors:
        write = partial(write_tensors, block=block)
    with atomic(path, suffixed=True) as aside:
        try:
            write(net, aside)
            return compare(net, read(net, aside), sizes)
        except ImportError as error:
            raise UserError(f"{path} needs a package ({error}): pip install 'aesop-sr[export]'") from error
        except UserError as error:
            raise UserError(f'{path} is not written: {error}') from error


def compare(net: nn.Module, run: Run, sizes: Sequence[tuple[int, int]]) -> float:
    """The largest absolute difference between the outputs of `net` and `run` for noise of these sizes."""
    noise = torch.Generator().manual_seed(0)
    largest = 0.0
    for size in sizes:
        lq = torch.rand(1, 3, *size, generator=noise)
        with torch.inference_mode():
            wanted = net(lq)
            try:
                got = run(lq)
            except Exception as error:  # each program has its own
                raise UserError(f'it does not run on an image of {size[0]}x{size[1]}: {first_line(error)}') from error
        if got.shape != wanted.shape:
            raise UserError(f'it gives {tuple(got.shape)} where PyTorch gives {tuple(wanted.shape)}')
        difference = (got - wanted).abs().max().item()
        if not difference <= TOLERANCE * max(1, wanted.abs().max().item()):  # not: NaN counts too
            raise UserError(
                f'its output differs from that of PyTorch by {difference:.1e} at {size[0]}x{size[1]} pixels'
            )
        largest = max(largest, difference)
    return largest


def write_tensors(net: Any, path: Path, block: Mapping[str, Any] | None = None) -> None:
    described = None if block is None else metadata(block, net.scale)
    checkpoint.save_network(path, checkpoint.network_state_dict(net), metadata=described)


def read_tensors(net: nn.Module, path: Path) -> Run:
    other = deepcopy(net)
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    checkpoint.load_network(other, path, key=None)
    return other


def write_onnx(net: nn.Module, path: Path) -> None:
    """By tracing, since torch.export does not let window attention take any size (PyTorch 2.15).

    Tracing warns of everything that depends on the size; other sizes than the traced one are compared afterwards.
    """
    import onnx  # noqa: F401  (torch would say that it is missing in words of its own)

    size = getattr(net, 'img_size', None)
    axes = {} if size else {name: {2: f'{name}_height', 3: f'{name}_width'} for name in ('lq', 'sr')}
    example = torch.rand(1, 3, *((size, size) if size else TRACED))
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # a failure prints the whole graph
        warnings.simplefilter('ignore')
        try:
            torch.onnx.export(
                net, (example,), path, input_names=['lq'], output_names=['sr'], dynamic_axes=axes, dynamo=False
            )
        except torch.onnx.OnnxExporterError as error:
            raise UserError(f'ONNX cannot hold this {type(net).__name__}: {first_line(error)}') from error


def read_onnx(net: nn.Module, path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    return lambda lq: torch.from_numpy(session.run(['sr'], {'lq': lq.numpy()})[0])


def write_spandrel(net: nn.Module, path: Path) -> None:
    state = checkpoint.network_state_dict(net)
    if isinstance(net, DRCT):  # what is a linear layer here is a 1x1 convolution there
        state = {k: t[..., None, None] if '.adjust' in k and t.ndim == 2 else t for k, t in state.items()}
    checkpoint.save_network(path, state)


def read_spandrel(net: nn.Module, path: Path) -> Run:
    import spandrel

    try:
        return spandrel.ModelLoader('cpu').load_from_file(path).model.eval()
    except Exception as error:  # it guesses the arguments from the tensors, and where it is wrong anything may happen
        raise UserError(f'spandrel does not recognise this {type(net).__name__}: {first_line(error)}') from error


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


WHOLE = ((32, 48), (64, 16))  # multiples of any window: spandrel pads DRCT outside of its network
FORMATS = {
    '.safetensors': (write_tensors, read_tensors, WHOLE),
    '.onnx': (write_onnx, read_onnx, (*WHOLE, (23, 34))),
    '.pth': (write_spandrel, read_spandrel, WHOLE),
}
