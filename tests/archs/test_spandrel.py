import sys

import pytest
import torch

from aesop.archs import build_network
from aesop.archs.spandrel import identify
from aesop.errors import Unavailable, UserError
from aesop.upscale.networks import load_generator
from aesop.utils import checkpoint
from tests.golden import image

spandrel = pytest.importorskip('spandrel')
SMALL = {
    'HAT': {
        'embed_dim': 12,
        'depths': [1],
        'num_heads': [2],
        'window_size': 8,
        'squeeze_factor': 4,
        'mlp_ratio': 2.0,
        'upscale': 4,
    },
    'DAT': {
        'embed_dim': 16,
        'split_size': [4, 8],
        'depth': [2],
        'num_heads': [2],
        'expansion_factor': 2.0,
        'upscale': 4,
    },
    'SPAN': {'num_in_ch': 3, 'num_out_ch': 3, 'feature_channels': 8, 'upscale': 2},
    'RealPLKSR': {'dim': 8, 'n_blocks': 2, 'upscaling_factor': 4},
    'ATD': {
        'embed_dim': 12,
        'depths': [2],
        'num_heads': [2],
        'num_tokens': 8,
        'upscale': 4,
        'upsampler': 'pixelshuffle',
    },
    'OmniSR': {'num_feat': 8, 'up_scale': 4},
}


def small(arch):
    return {'type': 'Spandrel', 'arch': arch, **SMALL[arch]}


@pytest.mark.parametrize('arch', SMALL)
def test_it_is_trained_and_spandrel_opens_what_is_saved(arch, tmp_path):
    net = build_network(small(arch))
    assert net.scale == (2 if arch == 'SPAN' else 4)
    lq = torch.rand(2, 3, 17, 13)  # no multiples of a window
    sr = net.train()(lq)
    assert sr.shape == (2, 3, 17 * net.scale, 13 * net.scale)
    sr.square().mean().backward()
    trained = [p for p in net.parameters() if p.grad is not None]
    assert len(trained) > 0.6 * len(list(net.parameters()))
    with torch.no_grad():
        for parameter in net.eval().parameters():
            parameter.normal_(0, 0.05)
    checkpoint.save_network(tmp_path / 'net.pth', checkpoint.network_state_dict(net))
    theirs = spandrel.ModelLoader('cpu').load_from_file(tmp_path / 'net.pth')
    assert theirs.architecture.id == {'RealPLKSR': 'PLKSR'}.get(arch, arch) and theirs.scale == net.scale
    lq = image(1, 3, 24, 24)
    with torch.inference_mode():
        torch.testing.assert_close(net(lq), theirs.model.eval()(lq), atol=1e-4, rtol=1e-4)
        ours = load_generator(tmp_path / 'net.pth')  # told by the tensors
        torch.testing.assert_close(ours(lq), net(lq), atol=1e-4, rtol=1e-4)


def test_images_smaller_than_a_network_takes():
    assert build_network(small('OmniSR'))(torch.rand(1, 3, 5, 8)).shape == (1, 3, 20, 32)


def test_the_block_is_told_by_the_tensors():
    block, state = identify(build_network(small('HAT')).state_dict())
    assert {**small('HAT'), 'type': 'Spandrel'} == block and 'conv_first.weight' in state


def test_our_own_networks_stay_ours():
    for block in ({'type': 'RRDBNet', 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4}, {'type': 'MSRResNet'}):
        assert identify(build_network(block).state_dict()) is None


def test_it_is_built_without_memory():
    with torch.device('meta'):
        net = build_network(small('HAT'))
        assert net(torch.empty(1, 3, 16, 16)).shape == (1, 3, 64, 64)


@pytest.mark.parametrize(
    ('block', 'message'),
    [
        ({'arch': 'HATS'}, 'spandrel has no network "HATS". Did you mean "HAT"?'),
        ({'arch': 'HAT', 'window': 8}, 'HAT has no argument "window". Did you mean "window_size"?'),
        ({'arch': 'SPAN'}, 'SPAN needs the argument "num_in_ch"'),
        ({'arch': 'HAT', 'depths': 2}, 'spandrel cannot build HAT with these arguments'),
    ],
)
def test_mistakes_are_told(block, message):
    with pytest.raises(UserError) as error:
        build_network({'type': 'Spandrel', **block})
    assert message in str(error.value)


def test_a_missing_package_is_told(monkeypatch):
    from aesop.archs import spandrel as part

    part.classes.cache_clear()
    monkeypatch.setitem(sys.modules, 'spandrel', None)
    with pytest.raises(Unavailable, match=r'pip install "aesop-sr\[spandrel\]"'):
        build_network({'type': 'Spandrel', 'arch': 'HAT'})
    assert identify({}) is None
