import logging

import pytest
import torch

from aesop.archs.rrdbnet import RRDBNet
from aesop.archs.spsrnet import GradientMap, SPSRNet
from aesop.errors import UserError
from aesop.utils import checkpoint
from tests.golden import fill_, image

TINY = {'nf': 8, 'nb': 20, 'gc': 4}


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_gradient_map_of_a_ramp():
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing='ij')
    ramp = torch.stack((0.3 * x + 0.4 * y, -0.5 * x))[None]
    out = GradientMap()(ramp)
    assert out.shape == ramp.shape
    torch.testing.assert_close(out[0, 0, 1:-1, 1:-1], torch.full((4, 5), 1.0))  # central differences: twice the slope
    torch.testing.assert_close(out[0, 1, 1:-1, 1:-1], torch.full((4, 5), 1.0))
    assert out[0, 0, 0, 0].item() == pytest.approx((0.7**2 - 2 * 0.3 * 0.4) ** 0.5, abs=1e-5)  # zeros outside


def test_the_gradient_map_has_a_gradient_where_the_image_is_flat():
    flat = torch.full((1, 3, 5, 5), 0.5, requires_grad=True)
    GradientMap()(flat).sum().backward()
    assert flat.grad.isfinite().all()


def test_the_filters_are_never_trained():
    assert [name for name, p in SPSRNet(**TINY).named_parameters() if not p.requires_grad] == [
        'get_g_nopadding.weight_h',
        'get_g_nopadding.weight_v',
    ]


def test_the_branch_comes_beside_the_same_image():
    net = fill_(SPSRNet(**TINY))
    x = image(2, 3, 5, 7)
    out, branch = net(x, also=('branch',)).values()
    assert net.scale == 4
    assert out.shape == branch.shape == (2, 3, 20, 28)
    assert torch.equal(out, net(x))
    assert not torch.equal(out, branch)


def test_gradients_of_both_outputs_reach_every_trained_parameter():
    net = fill_(SPSRNet(**TINY)).train()
    out, branch = net(image(1, 3, 5, 5), also=('branch',)).values()
    (out.square().mean() + branch.square().mean()).backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters() if p.requires_grad)


@pytest.mark.parametrize('left_out', ['-', 'HR_conv0_new.', 'model.8.'])
def test_files_with_either_name_of_the_shared_convolution_load(tmp_path, left_out):
    net, other = fill_(SPSRNet(**TINY)), SPSRNet(**TINY)
    state = checkpoint.network_state_dict(net)
    assert state['HR_conv0_new.0.weight'].data_ptr() == state['model.8.weight'].data_ptr()
    state = {name: t for name, t in state.items() if not name.startswith(left_out)}
    checkpoint.save_network(tmp_path / 'net.pth', state)
    checkpoint.load_network(other, tmp_path / 'net.pth')
    assert same(net, other)


def test_the_trunk_starts_from_a_psnr_oriented_rrdbnet(tmp_path, caplog):
    trunk, net = fill_(RRDBNet(num_feat=8, num_block=20, num_grow_ch=4)), SPSRNet(**TINY)
    checkpoint.save_network(tmp_path / 'psnr.pth', checkpoint.network_state_dict(trunk))
    with caplog.at_level(logging.WARNING):
        checkpoint.load_network(net, tmp_path / 'psnr.pth', strict=False)
    x = torch.rand(1, 8, 4, 4)
    feat = trunk.conv_body(trunk.body(x)) + x
    assert torch.equal(net.model[1](x)[0], feat)
    assert torch.equal(net.model[8].weight, trunk.conv_hr.weight)
    assert '2 unexpected (conv_last.weight, conv_last.bias)' in caplog.text


def test_a_trunk_too_shallow_for_the_taps_is_refused():
    with pytest.raises(UserError, match='nb >= 20, not 19'):
        SPSRNet(nb=19)
