import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import vgg16, vgg19

from aesop.archs.layers import use_plain
from aesop.archs.vgg import VGGFeatures, layer_order
from aesop.errors import UserError
from tests.golden import image, photograph


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """The first two blocks of a VGG19 and a made-up third, as a torchvision state dict."""
    path = tmp_path_factory.mktemp('vgg') / 'vgg.pth'
    generator = torch.Generator().manual_seed(0)
    state = {}
    for index, (inputs, outputs) in {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256)}.items():
        state[f'features.{index}.weight'] = torch.randn(outputs, inputs, 3, 3, generator=generator) / (inputs * 3)
        state[f'features.{index}.bias'] = torch.randn(outputs, generator=generator) / 10
    torch.save(state, path)
    return str(path)


def test_features_are_those_of_the_plain_chain(weights):
    state = torch.load(weights, weights_only=True)
    conv = lambda x, i: F.conv2d(x, state[f'features.{i}.weight'], state[f'features.{i}.bias'], padding=1)  # noqa: E731
    x = image(1, 3, 16, 20)
    normal = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    conv1_2 = conv(F.relu(conv(normal, 0)), 2)
    pool1 = F.max_pool2d(F.relu(conv1_2), 2)

    features = VGGFeatures(['conv1_2', 'relu1_2', 'pool1', 'conv2_1'], weights=weights)(x)
    assert list(features) == ['conv1_2', 'relu1_2', 'pool1', 'conv2_1']
    assert torch.allclose(features['conv1_2'], conv1_2, atol=1e-6)
    assert features['conv1_2'].min() < 0
    assert torch.allclose(features['relu1_2'], F.relu(conv1_2), atol=1e-6)
    assert torch.allclose(features['pool1'], pool1, atol=1e-6)
    assert torch.allclose(features['conv2_1'], conv(pool1, 5), atol=1e-5)


@pytest.mark.parametrize('names', [['conv1_2', 'conv2_1'], ['relu1_1', 'relu1_2', 'pool1', 'conv2_2']])
def test_on_a_photograph_values_and_gradients_equal_the_plain_form(weights, names):
    net, results = VGGFeatures(names, weights=weights), []
    for plain in (False, True):
        x = photograph(1, 24).requires_grad_()
        features = use_plain(net, plain)(x)
        sum(feature.square().mean() for feature in features.values()).backward()
        results.append([*features.values(), x.grad])
    assert all(torch.equal(fast, plain) for fast, plain in zip(*results, strict=True))


def test_range_norm_and_input_norm(weights):
    x = image(1, 3, 8, 8)
    of = lambda x, **options: VGGFeatures(['conv1_1'], weights=weights, **options)(x)['conv1_1']  # noqa: E731
    assert torch.allclose(of(2 * x - 1, range_norm=True), of(x), atol=1e-5)
    state = torch.load(weights, weights_only=True)
    raw = F.conv2d(x, state['features.0.weight'], state['features.0.bias'], padding=1)
    assert torch.allclose(of(x, use_input_norm=False), raw, atol=1e-6)


@pytest.mark.parametrize(('vgg_type', 'build'), [('vgg16', vgg16), ('vgg19', vgg19)])
def test_layer_i_is_torchvisions_feature_i(vgg_type, build):
    kinds = {nn.Conv2d: 'conv', nn.ReLU: 'relu', nn.MaxPool2d: 'pool'}
    with torch.device('meta'):
        features = build().features
    order = layer_order(vgg_type)
    assert [name[:4] for name in order] == [kinds[type(layer)] for layer in features]
    assert order[-2] == {'vgg16': 'relu5_3', 'vgg19': 'relu5_4'}[vgg_type]


def test_it_is_frozen_in_eval_mode_and_passes_gradients_to_the_input(weights):
    net = VGGFeatures(['conv2_2'], weights=weights)
    assert not net.train().training
    assert not any(p.requires_grad for p in net.parameters())
    assert list(net.convs) == ['conv1_1', 'conv1_2', 'conv2_1', 'conv2_2']
    x = image(1, 3, 8, 8).requires_grad_()
    net(x)['conv2_2'].sum().backward()
    assert x.grad.any()


def test_mistakes_are_told(weights):
    with pytest.raises(UserError, match='vgg19 has no layer "conv1_3"'):
        VGGFeatures(['conv1_1', 'conv1_3'], weights=weights)
    with pytest.raises(UserError, match='not those of vgg19: features.12'):
        VGGFeatures(['conv3_2'], weights=weights)
    with pytest.raises(UserError, match="vgg16 or vgg19, not 'vgg11'"):
        VGGFeatures(['conv1_1'], vgg_type='vgg11', weights=weights)
    with pytest.raises(UserError, match='at least one'):
        VGGFeatures([], weights=weights)
