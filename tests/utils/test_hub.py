"""Against a local imitation of the Hub's cache; nothing is downloaded."""

import sys

import pytest
import torch

import aesop
from aesop.archs import build_network
from aesop.archs.pretrained import save_pretrained
from aesop.errors import Unavailable, UserError
from aesop.utils import checkpoint, hub
from tests.golden import fill_, image

BLOCK = {'type': 'RRDBNet', 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4}
COMMIT = 'a' * 40


@pytest.fixture
def net(tmp_path, monkeypatch):
    """A network, which the cache of the Hub holds as me/tiny."""
    constants = pytest.importorskip('huggingface_hub.constants')
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    net = fill_(build_network(BLOCK))
    repository = tmp_path / 'models--me--tiny'
    for name in ('model.safetensors', 'x2/other.safetensors'):
        file = repository / 'snapshots' / COMMIT / name
        save_pretrained(net, BLOCK, file)
    (repository / 'refs').mkdir()
    (repository / 'refs/main').write_text(COMMIT)
    return net


@pytest.mark.parametrize('address', ['hf://me/tiny', 'hf://me/tiny/x2/other.safetensors', f'hf://me/tiny@{COMMIT}'])
def test_a_network_by_its_address_alone(net, address):
    lq = image(1, 3, 8, 9)
    assert torch.equal(aesop.from_pretrained(address)(lq), net(lq))


def test_wherever_a_path_is_taken(net):
    other = build_network(BLOCK)
    checkpoint.load_network(other, 'hf://me/tiny')
    assert torch.equal(other.conv_last.weight, net.conv_last.weight)


def test_what_is_not_there_is_told(net):
    with pytest.raises(Unavailable, match='hf://me/none could not be downloaded and is not in the cache'):
        hub.hub_file('hf://me/none')
    with pytest.raises(Unavailable, match='hf://me/tiny/net.pth'):
        checkpoint.load('hf://me/tiny/net.pth')


@pytest.mark.parametrize('address', ['hf://', 'hf://tiny', 'hf://me/tiny@', 'hf://me//x'])
def test_what_is_no_address_is_told(address):
    with pytest.raises(UserError, match='is not a Hub address'):
        hub.hub_file(address)


def test_a_missing_package_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(Unavailable, match=r'pip install "aesop-sr\[hub\]"'):
        hub.hub_file('hf://me/tiny')
    with pytest.raises(Unavailable, match=r'pip install "aesop-sr\[hub\]"'):
        hub.upload_folder('.', 'me/tiny')


def test_push_to_hub_uploads_what_from_pretrained_opens(monkeypatch, tmp_path):
    library, uploaded = pytest.importorskip('huggingface_hub'), {}

    class Hub:
        def create_repo(self, repository, private, exist_ok):
            assert exist_ok
            return f'https://huggingface.co/{repository}'

        def upload_folder(self, folder_path, repo_id, commit_message):
            for file in sorted(folder_path.iterdir() if hasattr(folder_path, 'iterdir') else []):
                uploaded[file.name] = file.read_bytes()

    monkeypatch.setattr(library, 'HfApi', Hub)
    net = fill_(build_network(BLOCK))
    assert aesop.push_to_hub(net, BLOCK, 'me/tiny', card='# Tiny') == 'https://huggingface.co/me/tiny'
    assert uploaded.keys() == {'README.md', 'config.json', 'model.safetensors'}
    (tmp_path / 'model.safetensors').write_bytes(uploaded['model.safetensors'])
    lq = image(1, 3, 8, 8)
    assert torch.equal(aesop.from_pretrained(tmp_path / 'model.safetensors')(lq), net(lq))
