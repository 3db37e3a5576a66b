"""Each format is read by the program that it is for, and its output compared with PyTorch's."""

from pathlib import Path

import numpy as np
import pytest
import torch

from aesop.archs import build_network
from aesop.errors import UserError
from aesop.upscale.export import FORMATS, export
from aesop.utils import checkpoint
from tests.commands import command
from tests.golden import fill_, image

main = command('export')

RRDB = {'type': 'RRDBNet', 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4}
SWINIR = {'img_size': 16, 'depths': [2], 'embed_dim': 12, 'num_heads': [2], 'mlp_ratio': 2, 'upscale': 2}
SWINIR |= {'type': 'SwinIR', 'upsampler': 'pixelshuffle'}
DRCT = {'type': 'DRCT', 'img_size': 16, 'window_size': 8, 'depths': [6], 'embed_dim': 24, 'gc': 8, 'num_heads': [4]}
AE = {'type': 'AutoEncoder_RRDBNet', 'enc_opt': {'num_feat': 48, 'num_grow_ch': 4}, 'dec_opt': RRDB}
SMALL = {
    'RRDBNet_x4': RRDB,
    'RRDBNet_x2': RRDB | {'scale': 2},
    'MSRResNet': {'type': 'MSRResNet', 'num_feat': 8, 'num_block': 1},
    'SRVGGNetCompact': {'type': 'SRVGGNetCompact', 'num_feat': 8, 'num_conv': 2},
    'SwinIR': SWINIR,
    'DRCT': DRCT,
    'AutoEncoder': AE,
}
# With the arguments of published networks, where these are needed to be recognised, and fewer blocks.
SPANDREL = {
    'RRDBNet_x4': {'type': 'RRDBNet', 'num_block': 2},
    'RRDBNet_x2': {'type': 'RRDBNet', 'num_block': 1, 'scale': 2},
    'RRDB_BSRGANNet': {'type': 'RRDB_BSRGANNet', 'nb': 2},
    'SwinIR-M': SWINIR | {'img_size': 64, 'depths': [6, 6], 'num_heads': [6, 6], 'embed_dim': 180, 'upscale': 4},
    'SwinIR-S': SWINIR | {'img_size': 64, 'embed_dim': 60, 'num_heads': [6], 'upsampler': 'pixelshuffledirect'},
    'SwinIR-L': SWINIR | {'upsampler': 'nearest+conv', 'resi_connection': '3conv', 'upscale': 4},
    'DRCT': {'type': 'DRCT', 'depths': [6], 'num_heads': [6]},
    'DRCT_w8': DRCT,
    'realesr-animevideov3': {'type': 'SRVGGNetCompact'},
}


def filled(block):
    return fill_(build_network(block)).requires_grad_(False)


@pytest.mark.parametrize('name', SMALL)
def test_safetensors_hold_the_published_names(name, tmp_path):
    safetensors = pytest.importorskip('safetensors.torch')
    net, path = filled(SMALL[name]), tmp_path / 'net.safetensors'
    assert export(net, path) == 0
    state = checkpoint.network_state_dict(net)
    found = safetensors.load_file(path)
    assert found.keys() == state.keys() and all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.parametrize('name', SMALL)
def test_onnx_takes_any_size(name, tmp_path):
    pytest.importorskip('onnx')
    onnxruntime = pytest.importorskip('onnxruntime')
    net, path = filled(SMALL[name]), tmp_path / 'net.onnx'
    assert 0 < export(net, path) < 1e-4
    session = onnxruntime.InferenceSession(path)
    for size in ((16, 16), (19, 2), (8, 41)):
        lq = image(1, 3, *size)
        (sr,) = session.run(None, {'lq': lq.numpy()})
        wanted = net(lq).numpy()
        np.testing.assert_allclose(sr, wanted, atol=1e-5 * np.abs(wanted).max())


def test_onnx_of_a_network_of_one_size(tmp_path):
    pytest.importorskip('onnx')
    onnxruntime = pytest.importorskip('onnxruntime')
    export(filled(SWINIR | {'ape': True}), tmp_path / 'net.onnx')
    (lq,) = onnxruntime.InferenceSession(tmp_path / 'net.onnx').get_inputs()
    assert lq.shape == [1, 3, 16, 16]


@pytest.mark.parametrize('name', SPANDREL)
def test_spandrel_runs_the_file(name, tmp_path):
    spandrel = pytest.importorskip('spandrel')
    net, path = filled(SPANDREL[name]), tmp_path / 'net.pth'
    assert export(net, path) < 1e-4
    model = spandrel.ModelLoader('cpu').load_from_file(path)
    assert (model.scale, model.input_channels, model.output_channels) == (net.scale, 3, 3)
    lq = image(1, 3, 16, 32)
    with torch.inference_mode():
        wanted, got = net(lq), model.model.eval()(lq)
    assert wanted.std() > 0.01
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5 * wanted.abs().max().item())
    again = build_network(SPANDREL[name])  # and it stays a file of ours
    checkpoint.load_network(again, path)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), net.parameters()))


def test_spandrel_pads_drct_as_we_do(tmp_path):
    spandrel = pytest.importorskip('spandrel')
    net = filled(SPANDREL['DRCT'])
    net.conv_last.weight *= 0.02  # spandrel clamps to [0, 1]; near the mean colour nothing is lost by that
    export(net, tmp_path / 'net.pth')
    lq = image(1, 3, 19, 33)
    with torch.inference_mode():
        wanted, got = net(lq), spandrel.ModelLoader('cpu').load_from_file(tmp_path / 'net.pth')(lq)
    assert wanted.std() > 0.01 and ((wanted > 0) & (wanted < 1)).float().mean() > 0.99
    torch.testing.assert_close(got, wanted.clamp(0, 1), rtol=0, atol=1e-5)


def test_what_no_program_can_hold_is_refused(tmp_path):
    pytest.importorskip('spandrel')
    pytest.importorskip('onnx')
    for block, name, words in (
        (RRDB, 'net.pth', 'spandrel does not recognise this RRDBNet'),  # 4 growth channels, not 32
        (SMALL['MSRResNet'], 'net.pth', 'spandrel does not recognise this MSRResNet'),
        (AE | {'type': 'BicubicDown_RRDBNet', 'enc_opt': {}}, 'net.onnx', 'ONNX cannot hold this AutoEncoder'),
        (RRDB, 'net.pt', 'the end of the name says the format'),
        ({'type': 'UNetDiscriminatorSN', 'num_in_ch': 3, 'num_feat': 8}, 'net.onnx', 'is no super-resolution network'),
    ):
        with pytest.raises(UserError, match=words):
            export(filled(block), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A file whose averaged weights are those of `fill_`, and a folder to work in."""
    monkeypatch.chdir(tmp_path)
    params = {name: torch.zeros_like(t) for name, t in build_network(RRDB).state_dict().items()}
    checkpoint.save_network('net.pth', params, params_ema=filled(RRDB).state_dict())
    Path('run.yml').write_text(f'network_g: {RRDB}\n')
    return Path('net.pth')


def test_the_command_takes_an_option_file_or_a_block(weights, capsys):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    assert main(['net.pth', '-opt', 'run.yml', '-o', 'out/net.onnx']) == 0
    assert 'out/net.onnx: differs from PyTorch by ' in capsys.readouterr().out
    (sr,) = onnxruntime.InferenceSession('out/net.onnx').run(None, {'lq': image(1, 3, 9, 7).numpy()})
    np.testing.assert_allclose(sr, filled(RRDB)(image(1, 3, 9, 7)).numpy(), atol=1e-4)

    pytest.importorskip('safetensors')
    assert main(['net.pth', '--arch', str(RRDB), '--key', 'params', '-o', 'net.safetensors']) == 0
    assert not checkpoint.load('net.safetensors')['conv_first.weight'].any()


def test_a_file_that_differs_takes_no_place(weights, capsys, monkeypatch):
    write, _, sizes = FORMATS['.safetensors']
    pytest.importorskip('safetensors')
    Path('net.safetensors').write_text('what was there before')
    command = ['net.pth', '-opt', 'run.yml', '-o', 'net.safetensors']
    for wrong, words in (
        (lambda net: lambda lq: net(lq) + 0.1, 'net.safetensors is not written: its output differs from that of'),
        (lambda net: lambda lq: net(lq) * float('nan'), 'differs from that of PyTorch by nan'),
        (lambda net: lambda lq: net(lq)[..., 1:], 'where PyTorch gives (1, 3, 128, 192)'),
        (lambda net: lambda lq: net(lq[0, 0]), 'does not run on an image of 32x48'),
    ):
        monkeypatch.setitem(FORMATS, '.safetensors', (write, lambda net, path, wrong=wrong: wrong(net), sizes))
        assert main(command) == 2
        assert words in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ['net.pth', 'net.safetensors', 'run.yml']
    assert Path('net.safetensors').read_text() == 'what was there before'


def test_mistakes_are_told_in_a_sentence(weights, capsys):
    for arguments, words in (
        (['none.pth', '-opt', 'run.yml'], 'none.pth: file not found'),
        (['net.pth', '--arch', '{type: RRDBnet}'], 'Did you mean "RRDBNet"?'),
        (['net.pth', '--arch', '{type: RRDBNet}'], 'does not fit this RRDBNet'),
        (['net.pth', '--arch', '~'], 'network_g is missing'),
    ):
        assert main([*arguments, '-o', 'net.onnx']) == 2
        assert words in capsys.readouterr().err
    assert not Path('net.onnx').exists()


def test_the_network_is_recognised_where_nothing_says_what_it_is(tmp_path, capsys):
    net = filled(RRDB | {'scale': 2})
    checkpoint.save_network(tmp_path / 'net.pth', checkpoint.network_state_dict(net))
    pytest.importorskip('safetensors')
    assert main([str(tmp_path / 'net.pth'), '-o', str(tmp_path / 'net.safetensors')]) == 0
    assert 'RRDBNet, x2; detected from its tensors' in capsys.readouterr().out
