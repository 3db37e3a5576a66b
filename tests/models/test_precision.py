"""Every faster way to run the networks against the plain one: values and gradients."""

import copy
import logging

import pytest
import torch
from torch import nn

from aesop.archs import build_network
from aesop.archs.rrdbnet import RRDB
from aesop.errors import UserError
from aesop.models import build_model
from aesop.models import precision as runtime
from aesop.models.precision import FrozenConv2d, cast_frozen, layers, repeated_blocks
from aesop.utils import distributed
from aesop.utils.devices import peak_memory
from aesop.utils.images import read_image, to_tensor
from aesop.utils.imresize import imresize
from tests.golden import GOLDEN

from .test_gradient_step import gradients
from .test_steps import ADAM, ARTIFACTS, GAN, LAYERS, D, ae_file, batches, options_of, tell_apart, vgg_file  # noqa: F401

PLAIN = {'channels_last': False, 'fast_blocks': False}
# Wide enough to have layers that are not thin.
G = {'type': 'RRDBNet', 'num_feat': 32, 'num_block': 2, 'num_grow_ch': 16}
AE = {'type': 'AutoEncoder_RRDBNet', 'enc_opt': {'num_feat': 48, 'num_grow_ch': 16}, 'dec_opt': G}
SWINIR = {'type': 'SwinIR', 'upscale': 4, 'img_size': 16, 'window_size': 8, 'depths': [2, 2], 'embed_dim': 32,
          'num_heads': [2, 2], 'mlp_ratio': 2, 'upsampler': 'pixelshuffle'}  # fmt: skip
UNET = {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3, 'num_feat': 16}
REAL = GOLDEN / '../data/Set5/HR/img_003.png'


def aesop_model(vgg=None, settings=None, network_g=G, network_d=D, **more):
    """AESOP, with the perceptual loss if there is a file for it; images and losses have a trained model's size."""
    torch.manual_seed(0)
    percep = {'type': 'PerceptualLoss', 'layer_weights': LAYERS, 'vgg_weights': vgg}
    terms = {'aesop_opt': {'type': 'AutoEncoderLoss', 'autoencoder_arch': AE}}
    terms |= {'perceptual_opt': percep} if vgg else {}
    options = options_of('AesopESRGANArtifactsDisModel', GAN | ARTIFACTS | terms, network_g)
    model = build_model(options | {'network_d': network_d, 'runtime': settings or {}} | more, 'cpu')
    if network_g is G:
        tell_apart(model)
    with torch.no_grad():
        for layer in layers(model.losses['aesop'].ae):
            layer.weight.mul_(3)  # the small start leaves little of the image
        return model


def photograph():
    """A batch of crops of a real image, with LR images."""
    if not REAL.exists():
        pytest.skip(f'{REAL} is not there')
    image = to_tensor(read_image(REAL))
    gt = torch.stack([image[:, 60:124, 60:124], image[:, 100:164, 20:84]])
    return {'gt': gt, 'lq': imresize(gt, 1 / 4).clamp(0, 1)}


def take(model, other):
    model.load_state_dict(copy.deepcopy(other.state_dict()))


def difference(got, wanted):
    """Of all gradients together, relative."""
    error, length = (sum(g.square().sum() for g in values).sqrt() for values in (
        [got[name] - wanted[name] for name in wanted], wanted.values()))  # fmt: skip
    return (error / length).item()


@pytest.mark.parametrize('source', ['noise', 'photograph'])
@pytest.mark.parametrize(('settings', 'of_terms', 'of_gradients'), [
    ({}, 1e-5, 5e-4),  # where sr is next to gt, rounding decides the sign of an L1's gradient
    ({'fast_blocks': False}, 1e-5, 5e-4),
    ({'precision': 'bf16'}, 0.02, 0.05),
    ({'precision': 'fp16'}, 0.005, 0.03),
])  # fmt: skip
def test_each_way_equals_the_plain_one(vgg_file, settings, of_terms, of_gradients, source):  # noqa: F811
    vgg = None if settings.get('precision') == 'fp16' else vgg_file  # on the CPU it would take too long
    plain, other = aesop_model(vgg, PLAIN), aesop_model(vgg, settings)
    for i, batch in enumerate([photograph()] * 2 if source == 'photograph' else batches(2), start=1):
        take(other, plain)
        expected, got = plain.step(batch, i), other.step(batch, i)
        assert other.skipped == 0
        for name, value in expected.items():
            if name.startswith('l_'):
                assert got[name].dtype == torch.float32
                assert got[name].item() == pytest.approx(value.item(), rel=of_terms), (i, name)
        assert difference(gradients(other), gradients(plain)) < of_gradients, i


@pytest.mark.parametrize(('network_g', 'network_d'), [(SWINIR, D), (G, UNET)])
def test_bf16_suits_attention_and_spectral_norm(network_g, network_d):
    plain, other = (aesop_model(None, how, network_g, network_d) for how in (PLAIN, {'precision': 'bf16'}))
    for i, batch in enumerate(batches(2), start=1):
        take(other, plain)
        expected, got = plain.step(batch, i), other.step(batch, i)
        for name, value in expected.items():
            if name != 'l_g_artifacts' and name.startswith('l_'):
                assert got[name].item() == pytest.approx(value.item(), rel=0.02), (i, name)
    for (name, a), b in zip(plain.net_d.named_buffers(), other.net_d.buffers()):
        if name.endswith(('_u', '_v')):  # the power iteration does not know of the precision
            assert torch.allclose(a, b, atol=1e-5), name


def test_precision_keeps_weights_averages_and_images_in_fp32_and_frozen_networks_small(vgg_file):  # noqa: F811
    model = aesop_model(vgg_file, {'precision': 'bf16'})
    model.step(next(batches(1)), 1)
    for net in (model.net_g, model.net_g_ema, model.net_d):
        assert {p.dtype for p in net.parameters()} == {torch.float32}
    ae, vgg = model.losses['aesop'].ae, model.losses['percep'].vgg
    assert ae.decoder.body[0].rdb1.conv1.weight.dtype == vgg.convs['conv3_1'].weight.dtype == torch.bfloat16
    assert ae.decoder.conv_last.weight.dtype == vgg.mean.dtype == torch.float32
    image = torch.rand(1, 3, 16, 16)
    out = model.net_g(image)
    assert out.dtype == torch.float32
    assert (out != out.bfloat16()).any()  # and not rounded


def test_generator_and_average_of_equal_weights_make_equal_images():
    """LDL compares their errors pixel by pixel; at the start of training the weights are equal."""
    for settings in ({}, {'precision': 'bf16'}):
        torch.manual_seed(0)
        wide = {**G, 'num_feat': 64, 'num_grow_ch': 32, 'num_block': 1}
        options = options_of('SRModel', {'pixel_opt': {'type': 'L1Loss'}}, wide)
        model = build_model(options | {'runtime': settings}, 'cpu')
        lq = torch.rand(1, 3, 16, 16)
        with torch.no_grad():
            average = model.net_g_ema(lq)
        assert torch.equal(model.net_g(lq), average)


def test_validation_is_in_fp32_unless_asked():
    torch.manual_seed(0)
    block = {**G, 'num_feat': 64}
    train = {'pixel_opt': {'type': 'L1Loss'}}
    models = [
        build_model(options_of('SRModel', train, block) | {'runtime': {'precision': precision}, 'val': val}, 'cpu')
        for precision, val in (('fp32', {}), ('bf16', {}), ('fp32', {'precision': 'bf16'}))
    ]
    for model in models[1:]:
        take(model, models[0])
    lq = torch.rand(1, 3, 12, 12)
    wanted, same, rounded = (model.predict(lq) for model in models)
    assert torch.equal(wanted, same)
    assert 0 < (wanted - rounded).abs().max() < 0.01 * wanted.abs().max()
    models[1].step(next(batches(1)), 1)  # training continues in its own precision
    assert models[1].precision.dtype == torch.bfloat16


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_frozen_convolutions_keep_no_input(dtype):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 16, 4, 2, 1, groups=2))
    plain = copy.deepcopy(net).requires_grad_(False).to(dtype)
    cast_frozen(net.requires_grad_(False), dtype)
    assert type(net[0]) is FrozenConv2d
    kept = []

    def note(tensor):
        kept.append(tensor)
        return tensor

    out, leaves = [], []
    for i, one in enumerate((plain, net)):
        x = torch.rand(2, 16, 9, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
        leaves.append(x.to(dtype).requires_grad_())
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            out.append(one(leaves[-1]))
        assert any(tensor is leaves[-1] or tensor.shape == x.shape for tensor in kept) == (i == 0)
        out[-1].square().sum().backward()
    assert torch.equal(out[0], out[1])
    assert torch.allclose(leaves[0].grad, leaves[1].grad, rtol=1e-3 if dtype == torch.float32 else 0.02)


def test_networks_inside_losses_are_held_and_filters_are_not():
    model = build_model(
        options_of('SRModel', {'losses': {'grad': {'type': 'GradientLoss'}}, 'pixel_opt': {'type': 'L1Loss'}})
        | {'runtime': {'precision': 'bf16'}}, 'cpu',
    )  # fmt: skip
    assert model.losses['grad'].gradient_map.weight_h.dtype == torch.float32


def test_the_repeated_blocks_are_the_smallest():
    assert all(isinstance(block, RRDB) for block in repeated_blocks(build_network(G)))
    assert len(repeated_blocks(build_network(AE))) == 2 + 2  # of the encoder and of the decoder
    names = {type(block).__name__ for block in repeated_blocks(build_network(SWINIR))}
    assert len(names) == 1 and len(repeated_blocks(build_network(SWINIR))) == 4
    assert repeated_blocks(build_network(D)) == []


@pytest.mark.parametrize('how', [True, 'max'])
def test_compiled_networks_learn_alike_under_their_own_names(monkeypatch, how):
    compile_ = nn.Module.compile
    compiled = []

    def traced(net, **options):  # all but the last stage, which takes a C++ compiler and its time
        compiled.append(type(net).__name__)
        return compile_(net, backend='aot_eager')

    monkeypatch.setattr(nn.Module, 'compile', traced)
    monkeypatch.setattr(runtime, 'can_compile', lambda device: True)
    plain, other = aesop_model(), aesop_model(settings={'compile': how})
    assert compiled == (['RRDB'] * 8 if how is True else ['RRDBNet', 'RRDBNet', 'AutoEncoder', 'VGGStyleDiscriminator'])
    assert other.network_states()['net_g']['params'].keys() == plain.network_states()['net_g']['params'].keys()
    assert not any('_orig_mod' in name for name in other.state_dict()['net_g_ema'])
    batch = next(batches(1))
    expected, got = plain.step(batch, 1), other.step(batch, 1)
    for name, value in expected.items():
        assert got[name].item() == pytest.approx(value.item(), rel=1e-4, abs=1e-6), name
    assert difference(gradients(other), gradients(plain)) < 1e-4
    take(other, plain)
    assert torch.allclose(other.predict(batch['lq']), plain.predict(batch['lq']), atol=1e-6)


def test_without_a_compiler_one_line_says_so(monkeypatch, caplog):
    def no_compiler(function):
        raise RuntimeError('no C++ compiler\nand a long story')

    monkeypatch.setattr(torch, 'compile', no_compiler)
    options = options_of('SRModel', {'pixel_opt': {'type': 'L1Loss'}}) | {'runtime': {'compile': True}}
    with caplog.at_level(logging.WARNING):
        model = build_model(options, 'cpu')
    (line,) = [record.message for record in caplog.records if record.name == runtime.__name__]
    assert line == 'runtime.compile has no effect: there is no working compiler for cpu (no C++ compiler)'
    assert model.step(next(batches(1)), 1)['l_pix'] > 0


def test_synchronised_batch_norm_needs_gpus(monkeypatch):
    monkeypatch.setattr(distributed, 'world_size', lambda: 2)
    options = options_of('ESRGANModel', GAN) | {'runtime': {'sync_bn': True}}
    with pytest.raises(UserError, match=r'runtime\.sync_bn is for GPUs'):
        build_model(options, 'cpu')


def test_peak_memory_counts_bytes():
    before = peak_memory(torch.device('cpu'))
    tensor = torch.ones(30_000_000)
    assert peak_memory(torch.device('cpu')) >= before > 100e6
    assert tensor.sum() > 0


@pytest.mark.gpu
@pytest.mark.parametrize('settings', [{}, {'precision': 'bf16'}, {'precision': 'fp16'}, {'tf32': True}])
def test_a_step_on_the_gpu_waits_for_nothing(vgg_file, settings):  # noqa: F811
    torch.manual_seed(0)
    percep = {'type': 'PerceptualLoss', 'layer_weights': LAYERS, 'vgg_weights': vgg_file}
    train = GAN | ARTIFACTS | {'perceptual_opt': percep, 'grad_clip_norm': 1.0, 'optim_g': ADAM}
    model = build_model(options_of('ESRGANArtifactsDisModel', train, G) | {'runtime': settings}, 'cuda')
    batch = {key: value.cuda() for key, value in next(batches(1)).items()}
    model.step(batch, 1)
    before = copy.deepcopy(model.state_dict())
    torch.cuda.set_sync_debug_mode('error')
    try:
        model.step(batch, 2)
        model.step({**batch, 'gt': batch['gt'] * torch.nan}, 3)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert model.skipped == 1
    assert not torch.equal(before['net_g']['conv_last.weight'], model.net_g.conv_last.weight)
    assert all(parameter.isfinite().all() for parameter in model.net_g_ema.parameters())


def auto_model(monkeypatch, answer, state=None):
    asked = []
    monkeypatch.setattr(
        runtime, 'choose_precision', lambda device: (asked.append(device.type), (answer, 'a reason'))[1]
    )
    torch.manual_seed(0)
    options = options_of('SRModel', {'pixel_opt': {'type': 'L1Loss'}}, {**G, 'num_feat': 16})
    settings = {'runtime': {'precision': 'auto'}, 'val': {'precision': 'auto'}}
    return build_model(options | settings, 'cpu', state), asked


def test_auto_takes_what_the_device_is_faster_with_and_says_why(monkeypatch, caplog):
    caplog.set_level('INFO')
    model, asked = auto_model(monkeypatch, 'bf16')
    assert model.precision.dtype == torch.bfloat16
    assert asked == ['cpu', 'cpu']
    assert 'runtime.precision: auto selected bf16 (a reason)' in caplog.text
    assert model.state_dict()['precision'] == {'runtime.precision': 'bf16', 'val.precision': 'bf16'}


def test_a_resumed_run_keeps_what_auto_was(monkeypatch):
    first, _ = auto_model(monkeypatch, 'bf16')
    state = first.state_dict()
    again, asked = auto_model(monkeypatch, 'fp32', state)
    assert asked == []
    again.load_state_dict(state)
    for number, batch in enumerate(batches(2), 1):
        terms = [model.step(batch, number) for model in (first, again)]
        assert torch.equal(terms[0]['l_pix'], terms[1]['l_pix'])


def test_bf16_on_a_cpu_that_traps_is_told(monkeypatch):
    def traps(option):
        raise UserError(f'{option}: bf16 products kill the process on this CPU')

    monkeypatch.setattr(runtime, 'check_bf16', traps)
    options = options_of('SRModel', {'pixel_opt': {'type': 'L1Loss'}}, G)
    with pytest.raises(UserError, match=r'^val\.precision: bf16 products'):
        build_model(options | {'val': {'precision': 'bf16'}}, 'cpu')
    build_model(options | {'runtime': {'precision': 'fp16'}}, 'cpu')
