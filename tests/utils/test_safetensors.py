import json
import struct

import pytest
import torch

from aesop.utils import safetensors

TENSORS = {
    'weight': torch.arange(12.0).reshape(3, 4).T,  # not contiguous
    'half': torch.tensor([1.5, -2.0]).bfloat16(),
    'flags': torch.tensor([True, False, True]),
    'scalar': torch.tensor(7),
    'nothing': torch.empty(0, 3),
    'größe': torch.tensor([0.1], dtype=torch.float64),
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'x.safetensors'
    path.write_bytes(safetensors.to_bytes(TENSORS, {'scale': '4'}))
    return path


def same(found):
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)


def test_round_trip(file):
    tensors, metadata = safetensors.read(file)
    same(tensors)
    assert metadata == {'format': 'pt', 'scale': '4'} == safetensors.read_metadata(file)


def test_the_format_s_own_library_reads_and_writes_the_same(file):
    library = pytest.importorskip('safetensors.torch')
    same(library.load_file(file))
    library.save_file({name: t.contiguous() for name, t in TENSORS.items()}, file, {'scale': '2'})
    tensors, metadata = safetensors.read(file)
    same(tensors)
    assert metadata['scale'] == '2'


def test_aliases_have_a_copy_each(tmp_path):
    tensor = torch.ones(3)
    (tmp_path / 'x').write_bytes(safetensors.to_bytes({'a': tensor, 'b': tensor}))
    found = safetensors.read(tmp_path / 'x')[0]
    found['a'].zero_()
    assert found['b'].tolist() == [1, 1, 1]


def test_damaged_files_are_told(file):
    whole = file.read_bytes()
    for content in (b'', whole[:5], whole[:40], whole[:-1], b'\xff' * 50):
        file.write_bytes(content)
        with pytest.raises(ValueError):
            safetensors.read(file)


@pytest.mark.parametrize('entry', [{'data_offsets': [0, 400]}, {'data_offsets': [-8, 0]}, {'dtype': 'F128'}])
def test_headers_that_lie_are_told(file, entry):
    header = {'x': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8], **entry}}
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack('<Q', len(text)) + text + bytes(8))
    with pytest.raises(ValueError, match='x'):
        safetensors.read(file)


def test_types_that_the_format_does_not_know_are_told():
    with pytest.raises(ValueError, match='z: safetensors does not support torch.complex64'):
        safetensors.to_bytes({'z': torch.zeros(1, dtype=torch.complex64)})
