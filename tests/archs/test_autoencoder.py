import pytest
import torch
import torch.nn.functional as F

from aesop.archs import build_network
from aesop.archs.autoencoder import BicubicEncoder
from aesop.errors import UserError
from tests.golden import fill_, image


def block(scale=4, width=48, **enc_opt):
    decoder = {'type': 'RRDBNet', 'scale': scale, 'num_feat': width, 'num_block': 1, 'num_grow_ch': 4}
    return {'type': 'AutoEncoder_RRDBNet', 'enc_opt': {'placeholder': 0, **enc_opt}, 'dec_opt': decoder}


@pytest.mark.parametrize(('scale', 'width'), [(2, 12), (4, 48), (8, 192)])
def test_bottleneck_and_output_sizes(scale, width):
    net = fill_(build_network(block(scale, 8, num_feat=width, num_block=1, num_grow_ch=4)))
    x = image(1, 3, 16, 24)
    out, lr = net(x, also=('lr',)).values()
    assert net.scale == scale
    assert out.shape == x.shape
    assert lr.shape == (1, 3, 16 // scale, 24 // scale)
    assert torch.equal(lr, net.encoder(x))
    assert torch.equal(out, net.decoder(lr))
    assert torch.equal(out, net(x))


def test_x3_with_a_decoder_that_has_it():
    decoder = {'type': 'MSRResNet', 'num_feat': 27, 'num_block': 1, 'upscale': 3}
    net = fill_(build_network({'type': 'AutoEncoder_MSRResNet', 'dec_opt': decoder}))
    out, lr = net(image(1, 3, 9, 12), also=('lr',)).values()
    assert (out.shape, lr.shape) == ((1, 3, 9, 12), (1, 3, 3, 4))


def test_other_sizes_are_padded_by_reflection_and_cropped():
    net = fill_(build_network(block()))
    x = image(1, 3, 14, 19)
    padded = F.pad(x, (0, 1, 0, 2), mode='reflect')
    out, lr = net(x, also=('lr',)).values()
    assert torch.equal(out, net(padded)[..., :14, :19])
    assert lr.shape == (1, 3, 4, 5)


def test_each_encoder_tensor_has_one_name_in_memory():
    tops = {name.split('.')[0] for name in build_network(block()).state_dict()}
    assert tops == {'encoder', 'decoder'}


def test_the_encoder_is_as_wide_as_the_decoder_unless_told():
    assert build_network(block(width=64)).encoder[3][1].in_channels == 64
    assert build_network(block(width=16, num_feat=96)).encoder[3][1].in_channels == 96


@pytest.mark.parametrize(
    ('scale', 'width', 'advice'), [(4, 16, 48), (4, 32, 48), (8, 64, 192), (2, 8, 12), (4, 60, 64), (4, 40, 48)]
)
def test_a_stem_that_cannot_carry_colour_is_refused_with_a_width_that_can(scale, width, advice):
    with pytest.raises(UserError, match=rf'colour.*enc_opt: {{num_feat: {advice}}}'):
        build_network(block(scale, width))
    build_network(block(scale, width, num_feat=advice))


def test_bicubic_downsampling_is_antialiased():
    net = build_network({**block(), 'type': 'BicubicDown_RRDBNet'})
    assert isinstance(net.encoder, BicubicEncoder)
    stripes = torch.tensor([0.0, 1.0]).repeat(1, 3, 16, 8)  # aliasing would give 0 or 1
    lr = net(stripes, also=('lr',))['lr']
    assert (lr[..., 1:3, 1:3] - 0.5).abs().max() < 0.05
    assert all(name.startswith('decoder.') for name in net.state_dict())


def test_gradients_pass_through_to_the_input():
    net = fill_(build_network(block())).requires_grad_(False)
    x = image(1, 3, 8, 8).requires_grad_()
    net(x).square().sum().backward()
    assert (x.grad.abs().sum(dim=(0, 2, 3)) > 0).all()


@pytest.mark.parametrize(
    ('decoder', 'sentence'),
    [
        ({'type': 'RRDBNet', 'scale': 1}, 'RRDBNet has scale 1'),
        ({'type': 'VGGStyleDiscriminator128'}, 'VGGStyleDiscriminator128 has scale None'),
    ],
)
def test_a_decoder_without_a_bottleneck_is_refused(decoder, sentence):
    with pytest.raises(UserError, match=sentence):
        build_network({'type': 'AutoEncoder', 'dec_opt': decoder})


def test_a_misspelled_encoder_key_is_told():
    with pytest.raises(UserError, match='no argument "num_fea". Did you mean "num_feat"'):
        build_network(block(num_fea=64))


@pytest.mark.parametrize(('enc_opt', 'growth'), [({'placeholder': 0}, 8), ({'num_grow_ch': 16}, 16)])
def test_the_encoder_grows_as_the_decoder_does(enc_opt, growth):
    decoder = {'type': 'RRDBNet', 'num_feat': 48, 'num_block': 1, 'num_grow_ch': 8}
    net = build_network({'type': 'AutoEncoder_RRDBNet', 'enc_opt': enc_opt, 'dec_opt': decoder})
    assert net.encoder[2][0].rdb1.conv1.out_channels == growth
