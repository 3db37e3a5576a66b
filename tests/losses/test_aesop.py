import json
import logging

import pytest
import torch
from torch import nn

from aesop.errors import UserError
from aesop.losses import build_loss
from aesop.losses.aesop import aesop_loss
from tests.golden import fill_, image

REFERENCE_ARCH = {
    'type': 'AutoEncoder_RRDBNet',
    'enc_opt': {'placeholder': 0},
    'dec_opt': {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 64, 'num_block': 1, 'num_grow_ch': 32},
}
TINY_ARCH = {
    'type': 'AutoEncoder_RRDBNet',
    'enc_opt': {'num_feat': 48},
    'dec_opt': {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4},
}


def build(**arguments):
    loss = build_loss({'type': 'AutoEncoderLoss', 'autoencoder_arch': TINY_ARCH, **arguments})
    fill_(loss.ae)
    return loss


@pytest.fixture
def small_pair():
    return image(1, 3, 16, 16, 0.4).requires_grad_(), image(1, 3, 16, 16)


def test_reference(pair, matches_reference):
    sr, gt = pair
    loss = build_loss({'type': 'AutoEncoderLoss', 'autoencoder_arch': REFERENCE_ARCH})
    fill_(loss.ae)
    loss.ae.decoder.conv_last.weight.data *= 0.05
    matches_reference('AutoEncoderLoss', loss(sr, gt), sr)


def test_equation_8():
    ae = nn.AvgPool2d(2)
    sr, gt = torch.tensor([[[[1.0, 0], [0, 0]]]]), torch.tensor([[[[0.0, 1], [0, 0]]]])
    assert aesop_loss(ae, sr, gt).item() == 0  # other pixels, same after AE
    assert aesop_loss(ae, sr + 0.5, gt).item() == 0.5


def test_gradient_reaches_sr_alone(small_pair):
    sr, gt = small_pair
    gt.requires_grad_()
    loss = build()
    before = {k: v.clone() for k, v in loss.ae.state_dict().items()}
    optimizer = torch.optim.SGD([sr, *loss.parameters()], lr=1e-3)
    value = loss(sr, gt)
    value.backward()
    assert sr.grad.count_nonzero() > 0.9 * sr.numel()
    assert gt.grad is None
    assert all(p.grad is None and not p.requires_grad for p in loss.parameters())
    optimizer.step()
    assert all(torch.equal(v, before[k]) for k, v in loss.ae.state_dict().items())
    assert loss(sr, gt) < value  # a step down its gradient lowers it


def test_zero_where_sr_equals_gt():
    gt = image(1, 3, 16, 16)
    assert build()(gt.clone(), gt).item() == 0


def test_the_auto_encoder_stays_in_eval_mode():
    loss = build().train()
    assert not any(m.training for m in loss.modules())


@pytest.mark.parametrize('name', ['l1', 'l2', 'mse', 'charbonnier'])
def test_criteria(name, small_pair):
    sr, gt = small_pair
    loss = build(criterion=name, loss_weight=3)
    difference = loss.ae(sr) - loss.ae(gt)
    want = difference.square() if name in ('l2', 'mse') else difference.abs()
    torch.testing.assert_close(loss(sr, gt), 3 * want.mean(), rtol=1e-5, atol=0)
    assert build(criterion=name, reduction='none')(sr, gt).shape == sr.shape


def test_as_loss_map_weights_the_pixel_error(small_pair):
    sr, gt = small_pair
    loss = build(as_loss_map=True, loss_weight=2)
    weight = (loss.ae(sr) - loss.ae(gt)).abs()
    torch.testing.assert_close(loss(sr, gt), 2 * (weight * (sr - gt).abs()).mean())
    (through_map,) = torch.autograd.grad(loss(sr, gt), sr)
    (pixel_only,) = torch.autograd.grad(2 * (weight.detach() * (sr - gt).abs()).mean(), sr)
    assert not torch.allclose(through_map, pixel_only, rtol=0.01)


def test_weights_are_loaded(tmp_path, small_pair):
    source = build()
    torch.save({'params_ema': source.ae.state_dict()}, tmp_path / 'ae.pth')
    loss = build_loss(
        {
            'type': 'AutoEncoderLoss',
            'autoencoder_arch': TINY_ARCH,
            'autoencoder_load': {'path': str(tmp_path / 'ae.pth'), 'key': 'params_ema'},
        }
    )
    assert torch.equal(loss(*small_pair), source(*small_pair))


def test_random_weights_are_said_in_the_log(caplog):
    with caplog.at_level(logging.WARNING):
        build()
    assert 'AutoEncoder_RRDBNet keeps random weights' in caplog.text


@pytest.mark.parametrize('load', ['ae.pth', {'key': 'params'}, {'path': None}, {'path': 'ae.pth', 'kye': 'params'}])
def test_a_wrong_load_block_is_a_users_mistake(load):
    with pytest.raises(UserError, match='autoencoder_load: expected'):
        build(autoencoder_load=load)


def test_blocks_are_left_unchanged():
    block = {'type': 'AutoEncoderLoss', 'autoencoder_arch': TINY_ARCH, 'criterion': 'l1'}
    before = json.dumps(block)
    build_loss(block)
    assert json.dumps(block) == before
