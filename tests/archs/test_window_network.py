"""What SwinIR and DRCT have in common, on both."""

import pytest
import torch
import torch.nn.functional as F

from aesop.archs import build_network
from aesop.archs.layers import use_plain
from aesop.archs.window_attention import SwinBlock
from aesop.errors import UserError
from aesop.utils import checkpoint
from tests.golden import fill_, image, photograph

SWINIR = {'type': 'SwinIR', 'upscale': 4, 'img_size': 8, 'window_size': 4, 'depths': [2], 'embed_dim': 8}
SWINIR |= {'num_heads': [2], 'upsampler': 'pixelshuffle'}
DRCT = {'type': 'DRCT', 'img_size': 8, 'window_size': 4, 'depths': [6], 'embed_dim': 8, 'num_heads': [2], 'gc': 4}
BOTH = pytest.mark.parametrize('block', [SWINIR, DRCT], ids=['SwinIR', 'DRCT'])


@BOTH
@pytest.mark.parametrize(('h', 'w'), [(9, 11), (8, 13), (5, 8)])
def test_odd_sizes_equal_the_padded_computation(block, h, w):
    net = fill_(build_network(block))
    x = image(2, 3, h, w)
    padded = F.pad(x, (0, -w % 4, 0, -h % 4), mode='reflect')
    out = net(x)
    assert out.shape == (2, 3, 4 * h, 4 * w)
    assert torch.equal(out, net(padded)[..., : 4 * h, : 4 * w])


@BOTH
def test_an_image_smaller_than_a_window_passes(block):
    assert fill_(build_network(block))(image(1, 3, 2, 1)).shape == (1, 3, 8, 4)


@BOTH
def test_img_size_plays_no_part_in_the_output_and_files_of_another_one_load(block, tmp_path):
    net = fill_(build_network(block))
    checkpoint.save_network(tmp_path / 'net.pth', checkpoint.network_state_dict(net))
    other = build_network({**block, 'img_size': 16}).eval()
    checkpoint.load_network(other, tmp_path / 'net.pth')
    assert torch.equal(other(image(1, 3, 8, 12)), net(image(1, 3, 8, 12)))
    masks = {len(t) for name, t in other.state_dict().items() if name.endswith('attn_mask')}
    assert masks == {16}  # the buffers stay its own


@BOTH
def test_checkpointing_changes_no_gradient(block):
    gradients = []
    for use_checkpoint in (False, True):
        torch.manual_seed(0)
        net = fill_(build_network({**block, 'use_checkpoint': use_checkpoint, 'drop_path_rate': 0.25})).train()
        net(image(8, 3, 8, 8)).square().mean().backward()
        gradients.append([p.grad for p in net.parameters()])
    assert all(g.any() for g in gradients[0])
    assert all(torch.equal(a, b) for a, b in zip(*gradients))


@BOTH
def test_checkpointing_of_the_first_groups(block):
    block = {**block, 'depths': [2] * 3, 'num_heads': [2] * 3, 'use_checkpoint': 2}
    net, calls = fill_(build_network(block)), []
    for name, module in net.named_modules():
        if isinstance(module, SwinBlock):
            module.register_forward_pre_hook(lambda *_, name=name: calls.append(name.split('.')[1]))
    net(image(1, 3, 4, 4)).sum().backward()
    groups = [calls.count(group) for group in '012']
    assert groups[0] == groups[1] == 2 * groups[2]


@BOTH
def test_on_a_photograph_values_and_gradients_equal_the_plain_form(block):
    net, results = fill_(build_network(block)), []
    for plain in (False, True):
        use_plain(net, plain).zero_grad()
        lq = photograph(2, 12).requires_grad_()
        sr = net(lq)
        (sr * photograph(2, 48)).sum().backward()
        results.append([sr, lq.grad, *(p.grad for p in net.parameters())])
    for fused, plain in zip(*results, strict=True):
        torch.testing.assert_close(fused, plain, rtol=0, atol=2e-5 * plain.abs().max().item())


@BOTH
@pytest.mark.parametrize('upscale', [2, 3, 8])
def test_other_scales(block, upscale):
    net = fill_(build_network({**block, 'upscale': upscale}))
    assert net.scale == upscale
    assert net(image(1, 3, 8, 8)).shape == (1, 3, 8 * upscale, 8 * upscale)


@pytest.mark.parametrize(('upsampler', 'upscale'), [('pixelshuffledirect', 2), ('nearest+conv', 2), ('', 1)])
def test_other_heads(upsampler, upscale):
    net = fill_(build_network({**SWINIR, 'upsampler': upsampler, 'upscale': upscale}))
    assert net(image(1, 3, 5, 8)).shape == (1, 3, 5 * upscale, 8 * upscale)


def test_scale_1_restores_a_residual_of_the_image():
    net = fill_(build_network({**SWINIR, 'upsampler': '', 'upscale': 1}))
    torch.nn.init.zeros_(net.conv_last.weight)
    torch.nn.init.zeros_(net.conv_last.bias)
    torch.testing.assert_close(net(image(1, 3, 6, 9)), image(1, 3, 6, 9))


def test_img_range_scales_inside_and_back():
    net = fill_(build_network({**SWINIR, 'upsampler': '', 'upscale': 1, 'img_range': 255}))
    torch.nn.init.zeros_(net.conv_last.weight)
    torch.nn.init.constant_(net.conv_last.bias, 2.55)
    torch.testing.assert_close(net(image(1, 3, 4, 4)), image(1, 3, 4, 4) + 0.01)


def test_gray_images_have_no_mean():
    net = fill_(build_network({**SWINIR, 'in_chans': 1}))
    assert net(image(1, 1, 4, 4)).shape == (1, 1, 16, 16)
    assert not net.mean.any()


def test_optional_parts():
    names = set(build_network(SWINIR).state_dict())
    assert names - set(build_network({**SWINIR, 'patch_norm': False}).state_dict()) == {
        'patch_embed.norm.weight',
        'patch_embed.norm.bias',
    }
    biases = names - set(build_network({**SWINIR, 'qkv_bias': False}).state_dict())
    assert {name.rsplit('.', 2)[1:][0] for name in biases} == {'qkv'}


def test_an_absolute_position_embedding_fixes_the_size():
    net = fill_(build_network({**SWINIR, 'ape': True}))
    assert net(image(1, 3, 7, 8)).shape == (1, 3, 28, 32)
    assert net.absolute_pos_embed.shape == (1, 64, 8)
    with pytest.raises(UserError, match='img_size 8x8, not 12x8'):
        net(image(1, 3, 9, 8))


@BOTH
@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ({'upsampler': 'bilinear'}, "not 'bilinear'"),
        ({'upsampler': 'nearest+conv', 'upscale': 3}, 'supports upscale 2, 4, not 3'),
        ({'resi_connection': '2conv'}, "not '2conv'"),
        ({'img_size': 10}, 'img_size 10 must be a multiple of window_size 4, at least twice as large: e.g. 8'),
        ({'img_size': 4}, 'at least twice as large: e.g. 8'),
        ({'num_heads': [2, 2]}, 'depths has 1 entries and num_heads 2'),
    ],
)
def test_impossible_arguments_are_refused(block, change, sentence):
    with pytest.raises(UserError) as error:
        build_network({**block, **change})
    assert sentence in str(error.value)
