import json
import subprocess
import sys

import pytest
import torch
from torch import nn

import aesop
from aesop import AESOPLoss
from aesop.archs import build_network
from aesop.archs.pretrained import save_pretrained
from aesop.errors import UserError
from aesop.losses.aesop import aesop_loss
from aesop.utils import checkpoint
from tests.golden import fill_, image
from tests.losses.test_aesop import TINY_ARCH


@pytest.fixture(scope='module')
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp('ae') / 'ae.safetensors'
    save_pretrained(fill_(build_network(TINY_ARCH)), TINY_ARCH, path)
    return path


@pytest.fixture
def pair():
    return image(2, 3, 20, 28, 0.4).requires_grad_(), image(2, 3, 20, 28)


def expected(sr, gt):
    return aesop_loss(fill_(build_network(TINY_ARCH)), sr, gt)


def test_equation_8_by_a_file_alone(file, pair):
    assert aesop.utils.safetensors.read_metadata(file)['scale'] == '4'
    loss = AESOPLoss.from_pretrained(file)
    assert torch.equal(loss(*pair), expected(*pair))
    assert AESOPLoss.from_pretrained(str(file), loss_weight=3, criterion='l2')(*pair) > 0


def test_the_auto_encoder_of_the_package_is_the_default(pair):
    """A shift of colour counts in full, noise that no network can know in part."""
    loss, gt = AESOPLoss.from_pretrained(), pair[1] * 0.8 + 0.1
    assert loss.autoencoder.scale == 4 and loss(gt, gt) == 0
    noise = 0.05 * torch.randn(gt.shape, generator=torch.Generator().manual_seed(0))
    assert loss(gt + 0.05, gt).item() == pytest.approx(0.05, rel=0.2)
    assert loss(gt + noise, gt) < 0.75 * noise.abs().mean()
    assert torch.equal(AESOPLoss.from_pretrained('aesop_ae_x4')(gt + noise, gt), loss(gt + noise, gt))


def test_gradient_reaches_sr_alone(file, pair):
    sr, gt = pair
    gt.requires_grad_()
    AESOPLoss.from_pretrained(file)(sr, gt).backward()
    assert sr.grad.abs().sum() > 0 and gt.grad is None


def test_nothing_of_it_is_trained_or_saved(file):
    loss = AESOPLoss.from_pretrained(file)
    assert not list(loss.parameters()) and not loss.state_dict()
    whole = nn.ModuleDict({'net': nn.Conv2d(3, 3, 1), 'loss': loss}).train()
    assert set(whole.state_dict()) == {'net.weight', 'net.bias'}
    assert not any(m.training for m in loss.modules())
    whole.load_state_dict(whole.state_dict())


def test_it_moves_between_devices_and_types(file, pair):
    loss = AESOPLoss.from_pretrained(file).to(torch.bfloat16)
    assert {b.dtype for b in loss.buffers()} == {torch.bfloat16}
    assert loss(*pair).item() == pytest.approx(expected(*pair).item(), rel=0.1)
    assert {b.device.type for b in loss.to('meta').buffers()} == {'meta'}


def test_autocast_and_half_images_do_not_change_what_it_computes_in(file, pair):
    loss = AESOPLoss.from_pretrained(file)
    sr, gt = pair
    with torch.autocast('cpu', torch.bfloat16):
        value = loss(sr, gt)
    assert torch.equal(value, expected(sr, gt))
    half = sr.detach().bfloat16().requires_grad_()
    value = loss(half, gt)
    value.backward()
    assert value.dtype == torch.float32 and half.grad.dtype == torch.bfloat16
    assert torch.equal(value, expected(half.float(), gt))


@pytest.mark.parametrize('autocast', [False, True])
def test_compiled(file, pair, autocast):
    sr, gt = pair
    (gradient,) = torch.autograd.grad(expected(sr, gt), sr)
    compiled = torch.compile(AESOPLoss.from_pretrained(file), backend='aot_eager', fullgraph=True)
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        value = compiled(sr, gt)
    torch.testing.assert_close(value, expected(sr, gt))
    value.backward()
    torch.testing.assert_close(sr.grad, gradient)


@pytest.mark.parametrize('scale', [1, 2, 3, 4, 8])
def test_any_scale_of_the_network(scale, file):
    lq, gt = image(1, 3, 24 // scale, 24 // scale), image(1, 3, 24, 24, 0.4)
    net = nn.Sequential(nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))
    value = AESOPLoss.from_pretrained(file)(net(lq), gt)
    assert torch.equal(value, expected(net(lq), gt)) and value > 0
    value.backward()
    assert net[0].weight.grad.abs().sum() > 0


def test_a_copy_computes_the_same(file, pair):
    from copy import deepcopy

    loss = AESOPLoss.from_pretrained(file)
    assert torch.equal(deepcopy(loss)(*pair), loss(*pair))


def test_published_files_of_pytorch_tell_what_they_are_by_their_tensors(tmp_path, pair):
    net = fill_(build_network(TINY_ARCH))
    checkpoint.save_network(tmp_path / 'ae.pth', checkpoint.network_state_dict(net))
    assert torch.equal(AESOPLoss.from_pretrained(tmp_path / 'ae.pth')(*pair), expected(*pair))
    bare = {name: t for name, t in net.state_dict().items() if not name.startswith('encoder')}
    bare |= {name.replace('encoder.0.', 'conv_first.'): t for name, t in net.state_dict().items() if 'er.0.' in name}
    checkpoint.save_network(tmp_path / 'half.pth', bare)
    with pytest.raises(UserError):
        AESOPLoss.from_pretrained(tmp_path / 'half.pth')


def test_mistakes_are_told_in_a_sentence(file, tmp_path, pair):
    loss = AESOPLoss.from_pretrained(file)
    with pytest.raises(UserError, match=r'of one size, got \(2, 3, 20, 28\) and \(2, 3, 20, 24\)'):
        loss(pair[0], pair[1][..., 4:])
    with pytest.raises(UserError, match='expected RGB'):
        loss(pair[0][:, :1], pair[1][:, :1])
    with pytest.raises(UserError, match='not found'):
        AESOPLoss.from_pretrained(tmp_path / 'none.safetensors')
    generator = {'type': 'RRDBNet', 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4}
    save_pretrained(build_network(generator), generator, tmp_path / 'g.safetensors')
    with pytest.raises(UserError, match='contains a RRDBNet, but L_AESOP needs an auto-encoder'):
        AESOPLoss.from_pretrained(tmp_path / 'g.safetensors')
    checkpoint.save({'w': torch.zeros(1)}, tmp_path / 'w.safetensors', {'architecture': json.dumps([1])})
    with pytest.raises(UserError, match='is not a network block'):
        AESOPLoss.from_pretrained(tmp_path / 'w.safetensors')
    checkpoint.save({'w': torch.zeros(1)}, tmp_path / 'w.safetensors')
    with pytest.raises(UserError, match='does not describe its network'):
        AESOPLoss.from_pretrained(tmp_path / 'w.safetensors')


def test_importing_it_loads_no_trainer():
    command = (
        'import sys; from aesop import AESOPLoss\n'
        'print(sorted(m for m in sys.modules if m.split(".")[0] in ("cv2", "pydantic", "torchvision", "lpips", '
        '"tensorboard", "safetensors", "huggingface_hub", "spandrel") or m.startswith(("aesop.options", '
        '"aesop.models", "aesop.training", "aesop.data", "aesop.run", "aesop.metrics"))))'
    )
    found = subprocess.run([sys.executable, '-c', command], capture_output=True, text=True, check=True).stdout
    assert found.strip() == '[]'


def test_the_package_has_no_other_names():
    with pytest.raises(AttributeError, match='has no attribute'):
        _ = aesop.AESOPLos
