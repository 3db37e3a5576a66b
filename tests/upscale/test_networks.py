import json

import pytest
import torch
from torch import nn

from aesop.archs import build_network
from aesop.errors import UserError
from aesop.upscale.networks import detect, load_generator
from aesop.utils import checkpoint
from tests.golden import fill_, image

RRDB = {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 2, 'num_grow_ch': 4}
OLD = {'type': 'RRDBNet_LEGACY', 'in_nc': 3, 'out_nc': 3, 'nf': 8, 'nb': 2, 'gc': 4}
MSR = {'type': 'MSRResNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 3}
SRVGG = {'type': 'SRVGGNetCompact', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_conv': 5}
SPSR = {'type': 'SPSRNet', 'in_nc': 3, 'out_nc': 3, 'nf': 8, 'nb': 21, 'gc': 4}
WINDOW = {'in_chans': 3, 'img_size': 8, 'window_size': 4, 'ape': False, 'embed_dim': 12, 'depths': [2, 3]}
WINDOW |= {'num_heads': [2, 3], 'mlp_ratio': 2.0, 'qkv_bias': True, 'resi_connection': '1conv', 'patch_norm': True}
SWINIR = {'type': 'SwinIR', **WINDOW}
DRCT = {'type': 'DRCT', **WINDOW, 'num_heads': [2, 2], 'depths': [6, 6], 'gc': 4, 'embed_dim': 8}
BLOCKS = [
    *({**RRDB, 'scale': scale} for scale in (1, 2, 4, 8)),
    *({**OLD, 'sf': scale} for scale in (1, 2, 4, 8)),
    *({**MSR, 'upscale': scale} for scale in (2, 3, 4)),
    *({**SRVGG, 'upscale': scale} for scale in (1, 4)),
    SPSR,
    *({**SWINIR, 'upsampler': 'pixelshuffle', 'upscale': scale} for scale in (2, 3, 4, 8)),
    {**SWINIR, 'upsampler': 'pixelshuffledirect', 'upscale': 3},
    *({**SWINIR, 'upsampler': 'nearest+conv', 'upscale': scale} for scale in (2, 4)),
    {**SWINIR, 'upsampler': '', 'upscale': 1, 'mlp_ratio': 1.5, 'qkv_bias': False, 'patch_norm': False},
    {**SWINIR, 'upsampler': 'pixelshuffle', 'upscale': 4, 'resi_connection': '3conv', 'ape': True, 'img_size': 12},
    *({**DRCT, 'upsampler': 'pixelshuffle', 'upscale': scale} for scale in (2, 4)),
]


def named_as_in_2018(state, scale):
    """Tensors of RRDBNet_LEGACY in the Sequential of the first ESRGAN files."""
    steps = scale.bit_length() - 1
    places = {'conv_first': 0, 'HRconv': 3 * steps + 2, 'conv_last': 3 * steps + 4}
    places |= {f'upconv{step}': 3 * step for step in range(1, steps + 1)}
    renamed = {}
    for name, tensor in state.items():
        stem, kind = name.rsplit('.', 1)
        if stem.startswith('RRDB_trunk'):
            stem = stem.replace('RRDB_trunk', 'model.1.sub') + '.0'
        elif stem == 'trunk_conv':
            stem = f'model.1.sub.{OLD["nb"]}'
        else:
            stem = f'model.{places[stem]}'
        renamed[f'{stem}.{kind}'] = tensor
    return renamed


def tensors(block):
    return checkpoint.network_state_dict(build_network(block))


@pytest.mark.parametrize('block', BLOCKS, ids=lambda b: f'{b["type"]} {b.get("upsampler", "")} {b.get("scale", "")}')
def test_a_network_is_told_by_its_tensors(block):
    assert detect(tensors(block), 'a.pth') == block


@pytest.mark.parametrize('scale', [1, 2, 4, 8])
def test_the_oldest_names_give_the_same_image(scale, tmp_path):
    block = {**OLD, 'sf': scale}
    net = fill_(build_network(block))
    torch.save(named_as_in_2018(net.state_dict(), scale), tmp_path / 'old.pth')
    loaded = load_generator(tmp_path / 'old.pth')
    lq = torch.rand(1, 3, 7, 6)
    assert loaded.scale == scale
    assert torch.equal(loaded(lq), net(lq))


def test_the_published_form_of_drct_is_told_too():
    block = {**DRCT, 'upsampler': 'pixelshuffle', 'upscale': 4}
    state = {k: t[..., None, None] if '.adjust' in k and t.ndim == 2 else t for k, t in tensors(block).items()}
    assert detect(state, 'a.pth') == block


def test_the_average_is_taken_and_said_and_another_entry_where_asked(tmp_path, caplog):
    path, state = tmp_path / 'net_g.pth', tensors({**RRDB, 'scale': 4})
    checkpoint.save_network(path, state, {name: torch.full_like(t, 0.5) for name, t in state.items()})
    with caplog.at_level('INFO'):
        assert load_generator(path).conv_last.bias[0] == 0.5
    assert 'using `params_ema`' in caplog.text
    assert 'RRDBNet, x4; detected from its tensors' in caplog.text
    assert torch.equal(load_generator(path, key='params').conv_last.bias, state['conv_last.bias'])
    with pytest.raises(UserError, match='has no `net_g`'):
        load_generator(path, key='net_g')


@pytest.mark.parametrize(
    ('sizes', 'scale'),
    [({'plus': True}, 4), ({}, 4), ({'in_nc': 12, 'shuffle_factor': 2}, 2), ({'in_nc': 48, 'shuffle_factor': 4}, 1)],
    ids=['ESRGAN+', 'x4', 'x2 unshuffled', 'x1 unshuffled'],
)
def test_old_names_give_the_image_that_spandrel_gives(sizes, scale, tmp_path):
    esrgan = pytest.importorskip('spandrel.architectures.ESRGAN').ESRGAN(num_filters=16, num_blocks=2, **sizes).eval()
    torch.save(esrgan.state_dict(), tmp_path / 'old.pth')
    net, lq = load_generator(tmp_path / 'old.pth'), image(1, 3, 12, 8)
    assert net.scale == scale
    with torch.no_grad():
        torch.testing.assert_close(net(lq), esrgan(lq), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('act_type', ['relu', 'leakyrelu'])
def test_an_activation_without_weights_is_found_by_trying(act_type, tmp_path):
    """A network whose residual is 0 with its own activation, and 0.9 times the image with the other."""
    net = build_network({**SRVGG, 'num_conv': 0, 'act_type': act_type, 'upscale': 1})
    slope = {'relu': 0.0, 'leakyrelu': 0.1}[act_type]
    for layer in (net.body[0], net.body[-1]):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    for c in range(3):
        net.body[0].weight.data[c, c, 1, 1], net.body[-1].weight.data[c, c, 1, 1] = -1.0, 9.0
        net.body[0].weight.data[3 + c, c, 1, 1], net.body[-1].weight.data[c, 3 + c, 1, 1] = 1.0, 9.0 * slope
    checkpoint.save_network(tmp_path / 'net.pth', checkpoint.network_state_dict(net))
    assert detect(checkpoint.read_weights(tmp_path / 'net.pth')[0], 'net.pth')['act_type'] == act_type


def test_a_run_says_what_its_network_is(tmp_path, caplog):
    block = {**SRVGG, 'upscale': 2, 'act_type': 'leakyrelu'}
    path = tmp_path / 'run/models/net_g_1.pth'
    checkpoint.save_network(path, tensors(block))
    with pytest.raises(UserError, match='relu or leakyrelu; say which with --arch'):
        load_generator(path)
    named = load_generator(path, arch=json.dumps(block))
    (tmp_path / 'run/options.yml').write_text(json.dumps({'network_g': block}))
    with caplog.at_level('INFO'):
        net = load_generator(path)
    assert type(net.body[1]) is type(named.body[1]) is torch.nn.LeakyReLU
    assert 'detected from' in caplog.text and 'options.yml' in caplog.text


@pytest.mark.parametrize(
    ('block', 'what'),
    [
        ({'type': 'AutoEncoder_MSRResNet', 'dec_opt': MSR, 'enc_opt': {'num_feat': 48}}, 'an auto-encoder'),
        ({'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 4, 'input_size': 32}, 'no network is known'),
        ({**RRDB, 'num_in_ch': 1, 'num_out_ch': 1}, 'this RRDBNet does not make an RGB image'),
    ],
)
def test_what_does_not_upscale_is_refused(block, what, tmp_path):
    checkpoint.save_network(tmp_path / 'net.pth', tensors(block))
    with pytest.raises(UserError, match=f'net.pth: {what}'):
        load_generator(tmp_path / 'net.pth')


def test_half_a_network_is_refused(tmp_path):
    state = tensors({**RRDB, 'scale': 4})
    del state['conv_last.weight']
    with pytest.raises(UserError, match="a.pth: it looks like .*not all its tensors .'conv_last.weight'"):
        detect(state, 'a.pth')


def test_weights_that_fit_in_part_are_refused_without_advice_for_option_files(tmp_path):
    block = {**RRDB, 'scale': 4}
    checkpoint.save_network(tmp_path / 'net.pth', tensors(block))
    with pytest.raises(UserError, match=r'does not fit this RRDBNet: .* unexpected') as error:
        load_generator(tmp_path / 'net.pth', arch=json.dumps({**block, 'num_block': 1}))
    assert 'strict_load' not in str(error.value)


@pytest.mark.parametrize('scale', [1, 2, 4, 8])
def test_spandrel_takes_the_oldest_files_for_the_same_network(scale, tmp_path):
    spandrel = pytest.importorskip('spandrel')
    net = fill_(build_network({**OLD, 'sf': scale, 'gc': 32}))  # it guesses other widths wrong
    torch.save(named_as_in_2018(net.state_dict(), scale), tmp_path / 'old.pth')
    lq, theirs = torch.rand(1, 3, 8, 12), spandrel.ModelLoader('cpu').load_from_file(tmp_path / 'old.pth')
    with torch.no_grad():
        expected = theirs.model.eval()(lq)
    assert theirs.scale == scale
    assert (load_generator(tmp_path / 'old.pth')(lq) - expected).abs().max() < 1e-5 * expected.abs().max()
