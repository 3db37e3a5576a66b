from urllib.error import URLError

import pytest
import torch

from aesop.archs import backbones
from aesop.archs.backbones import backbone_state_dict
from aesop.errors import UserError

STATE = {'features.0.weight': torch.arange(6.0).view(2, 3).half(), 'classifier.0.bias': torch.ones(2)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv('AESOP_WEIGHTS', str(tmp_path / 'weights'))
    monkeypatch.setattr('torch.hub.load_state_dict_from_url', lambda *_, **__: pytest.fail('tried to download'))
    (tmp_path / 'weights').mkdir()
    return tmp_path / 'weights'


@pytest.mark.parametrize('name', ['alexnet-owt-7be5be79.pth', 'alexnet.pth', 'alexnet_features_fp16.pth'])
def test_the_folder_is_looked_in_first(folder, name):
    torch.save(STATE, folder / name)
    features = backbone_state_dict('alexnet')
    assert list(features) == ['features.0.weight']
    assert features['features.0.weight'].dtype == torch.float32
    assert torch.equal(features['features.0.weight'], torch.arange(6.0).view(2, 3))


def test_torchvisions_own_file_goes_before_the_others(folder):
    torch.save({'features.0.bias': torch.zeros(1)}, folder / 'vgg19.pth')
    torch.save({'features.0.bias': torch.ones(1)}, folder / 'vgg19-dcbb9e9d.pth')
    assert backbone_state_dict('vgg19')['features.0.bias'].item() == 1


def test_a_named_file_is_found_beside_and_in_the_folder(folder, tmp_path):
    torch.save(STATE, tmp_path / 'mine.pth')
    torch.save(STATE, folder / 'ours.pth')
    assert list(backbone_state_dict('vgg16', str(tmp_path / 'mine.pth'))) == ['features.0.weight']
    assert list(backbone_state_dict('vgg16', 'ours.pth')) == ['features.0.weight']


def test_a_missing_file_or_another_kind_of_file_is_told(folder):
    with pytest.raises(UserError, match=r'nowhere\.pth: file not found'):
        backbone_state_dict('vgg19', 'nowhere.pth')
    torch.save([1, 2], folder / 'list.pth')
    with pytest.raises(UserError, match='not a torchvision state dict of vgg19'):
        backbone_state_dict('vgg19', 'list.pth')


def test_without_file_and_network_it_says_what_to_put_where(folder, monkeypatch):
    def offline(*_, **__):
        raise URLError('no route to host')

    monkeypatch.setattr('torch.hub.load_state_dict_from_url', offline)
    with pytest.raises(UserError, match=r'no route to host.*get https://.*vgg19-dcbb9e9d\.pth.*AESOP_WEIGHTS'):
        backbone_state_dict('vgg19')


def test_a_weights_folder_that_is_none_is_told(folder, monkeypatch):
    monkeypatch.setenv('AESOP_WEIGHTS', str(folder / 'elsewhere'))
    with pytest.raises(UserError, match='AESOP_WEIGHTS names .*elsewhere, which is not a folder'):
        backbone_state_dict('vgg19')


def test_an_unknown_backbone_is_told():
    with pytest.raises(UserError, match='unknown backbone "resnet50"; known: vgg19'):
        backbone_state_dict('resnet50')
    assert backbones.ARCHITECTURES == ('vgg19', 'vgg16', 'alexnet', 'squeezenet1_1')
