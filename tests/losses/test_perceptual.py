import pytest
import torch
import torchvision
from torch.nn import functional as F

from aesop.errors import UserError
from aesop.losses import build_loss
from aesop.losses.perceptual import gram
from tests.golden import fill_, image

LAYERS = {'conv1_2': 0.1, 'conv2_2': 0.1, 'conv3_4': 1, 'conv4_4': 1, 'conv5_4': 1}


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """File with torchvision's VGG19 under deterministic weights, without the classifier."""
    with torch.device('meta'):
        features = torchvision.models.vgg19().features
    vgg = torch.nn.ModuleDict({'features': features.to_empty(device='cpu')})  # the names decide the values
    path = tmp_path_factory.mktemp('vgg') / 'vgg19.pth'
    torch.save(fill_(vgg).state_dict(), path)
    return str(path)


def build(weights, layers=None, **arguments):
    layers = layers or {'conv1_2': 0.1, 'relu2_1': 2.0}
    return build_loss({'type': 'PerceptualLoss', 'layer_weights': layers, 'vgg_weights': weights, **arguments})


def test_reference(weights, exact_pair, matches_reference):
    sr, gt = exact_pair
    terms = build(weights, LAYERS).double()(sr, gt)
    assert terms.keys() == {'percep'}
    matches_reference('PerceptualLoss_vgg19', terms['percep'], sr)


def test_a_layer_of_weight_zero_is_left_out(weights):
    sr, gt = image(1, 3, 32, 32, 0.4), image(1, 3, 32, 32)
    without, zero = build(weights, {'conv1_2': 1}), build(weights, {'conv1_2': 1, 'conv5_4': 0})
    assert list(zero.vgg.convs) == ['conv1_1', 'conv1_2']
    assert zero(sr, gt)['percep'] == without(sr, gt)['percep'] > 0


def test_terms(weights):
    sr, gt = image(1, 3, 32, 32, 0.4), image(1, 3, 32, 32)
    loss = build(weights, perceptual_weight=3, style_weight=5)
    a, b = loss.vgg(sr), loss.vgg(gt)
    terms = loss(sr, gt)
    percep = 0.1 * F.l1_loss(a['conv1_2'], b['conv1_2']) + 2 * F.l1_loss(a['relu2_1'], b['relu2_1'])
    style = sum(w * F.l1_loss(gram(a[k]), gram(b[k])) for k, w in loss.layer_weights.items())
    torch.testing.assert_close(terms['percep'], 3 * percep)
    torch.testing.assert_close(terms['style'], 5 * style)
    assert build(weights, perceptual_weight=0, style_weight=1)(sr, gt).keys() == {'style'}


def test_gram():
    features = torch.arange(12.0).view(1, 2, 2, 3)
    first, second = features[0, 0].flatten(), features[0, 1].flatten()
    want = torch.tensor([[first @ first, first @ second], [second @ first, second @ second]]) / 12
    torch.testing.assert_close(gram(features), want[None])


@pytest.mark.parametrize('name', ['l1', 'l2', 'mse', 'fro'])
def test_criteria(weights, name):
    sr, gt = image(1, 3, 16, 16, 0.4), image(1, 3, 16, 16)
    loss = build(weights, {'conv1_1': 1.0}, criterion=name)
    d = loss.vgg(sr)['conv1_1'] - loss.vgg(gt)['conv1_1']
    want = {'l1': d.abs().mean(), 'l2': d.square().mean(), 'mse': d.square().mean(), 'fro': d.square().sum().sqrt()}
    torch.testing.assert_close(loss(sr, gt)['percep'], want[name])


def test_gradient_reaches_sr_alone(weights):
    sr, gt = image(1, 3, 16, 16, 0.4).requires_grad_(), image(1, 3, 16, 16).requires_grad_()
    loss = build(weights).train()
    loss(sr, gt)['percep'].backward()
    assert sr.grad.count_nonzero() > 0 and gt.grad is None
    assert not any(p.requires_grad for p in loss.parameters())
    assert loss(gt, gt)['percep'].item() == 0


def test_unknown_criterion_is_a_users_mistake(weights):
    with pytest.raises(UserError, match='criterion: unknown value "l3"'):
        build(weights, criterion='l3')
