"""Reads and writes the safetensors format without the package of that name.

The format (https://huggingface.co/docs/safetensors): 8 bytes, little endian, the length of a JSON header; the header,
`{name: {dtype, shape, data_offsets}}` with texts under `__metadata__`; the tensors' bytes. Reading runs no code.
"""

import json
import struct
from pathlib import Path

import torch
from torch import Tensor

DTYPES = {
    'F64': torch.float64,
    'F32': torch.float32,
    'F16': torch.float16,
    'BF16': torch.bfloat16,
    'I64': torch.int64,
    'I32': torch.int32,
    'I16': torch.int16,
    'I8': torch.int8,
    'U8': torch.uint8,
    'BOOL': torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
LONGEST_HEADER = 100_000_000  # the format's own limit


def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file, on the CPU, and its metadata.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is damaged, or contains an unsupported data type.
    """
    with open(path, 'rb') as file:
        header, metadata = _header(file.read(8), file.read)
        content = bytearray(file.read())
    tensors = {}
    for name, entry in header.items():
        dtype, shape, (begin, end) = DTYPES.get(entry['dtype']), entry['shape'], entry['data_offsets']
        if dtype is None:
            raise ValueError(f'{name} has an unknown type, {entry["dtype"]}')
        tensor = torch.empty(shape, dtype=dtype)
        if not 0 <= begin <= end <= len(content) or end - begin != tensor.nbytes:
            raise ValueError(f'the bytes of {name} are missing')
        if tensor.numel():
            tensor = torch.frombuffer(content, dtype=dtype, count=tensor.numel(), offset=begin).reshape(shape).clone()
        tensors[name] = tensor
    return tensors, metadata


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a file; only its header is read. Raises as `read`."""
    with open(path, 'rb') as file:
        return _header(file.read(8), file.read)[1]


def _header(first: bytes, read_more) -> tuple[dict, dict[str, str]]:  # noqa: ANN001
    if len(first) < 8 or (length := struct.unpack('<Q', first)[0]) > LONGEST_HEADER:
        raise ValueError('it is truncated, or not a safetensors file')
    header = json.loads(read_more(length))
    if not isinstance(header, dict):
        raise ValueError('it has no header')
    return header, header.pop('__metadata__', {})


def to_bytes(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """The bytes of a file with these tensors and metadata.

    Raises:
        ValueError: a tensor has a type that the format does not support.
    """
    header: dict = {'__metadata__': {'format': 'pt', **(metadata or {})}}
    parts, begin = [], 0
    # Largest element size first, as the reference implementation does, so that every tensor is aligned.
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        if tensor.dtype not in NAMES:
            raise ValueError(f'{name}: safetensors does not support {tensor.dtype}')
        content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        header[name] = {
            'dtype': NAMES[tensor.dtype],
            'shape': list(tensor.shape),
            'data_offsets': [begin, begin + len(content)],
        }
        parts.append(content)
        begin += len(content)
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b' ' * (-len(text) % 8)
    return b''.join([struct.pack('<Q', len(text)), text, *parts])
