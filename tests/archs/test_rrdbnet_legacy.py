import pytest
import torch

from aesop.archs import build_network
from aesop.archs.rrdbnet import RRDBNet
from aesop.archs.rrdbnet_legacy import RRDBNet_LEGACY
from aesop.errors import UserError
from aesop.utils import checkpoint
from tests.golden import fill_, image

TINY = {'nf': 8, 'nb': 2, 'gc': 4}
MODERN = {'num_feat': 8, 'num_block': 2, 'num_grow_ch': 4}


def test_names_are_those_of_2019():
    names = set(RRDBNet_LEGACY(**TINY).state_dict())
    assert len(names) == len(RRDBNet(**MODERN).state_dict())
    assert {'conv_first.weight', 'RRDB_trunk.1.RDB3.conv5.bias', 'trunk_conv.weight', 'upconv2.bias'} <= names
    assert {'HRconv.weight', 'conv_last.weight'} <= names


def test_weights_go_to_rrdbnet_and_back_and_give_the_same_image(tmp_path):
    legacy, modern, back = fill_(RRDBNet_LEGACY(**TINY)), RRDBNet(**MODERN).eval(), RRDBNet_LEGACY(**TINY)
    for source, target in ((legacy, modern), (modern, back)):
        checkpoint.save_network(tmp_path / 'net.pth', checkpoint.network_state_dict(source))
        checkpoint.load_network(target, tmp_path / 'net.pth')
    assert torch.equal(modern(image(1, 3, 6, 5)), legacy(image(1, 3, 6, 5)))
    restored = back.state_dict()
    assert all(torch.equal(t, restored[name]) for name, t in legacy.state_dict().items())


@pytest.mark.parametrize('sf', [1, 2, 4, 8])
def test_bsrgan_is_the_same_network_with_a_scale(sf):
    net = fill_(build_network({'type': 'RRDB_BSRGANNet', 'in_nc': 3, 'out_nc': 3, **TINY, 'sf': sf}))
    assert net.scale == sf
    assert net(image(1, 3, 5, 7)).shape == (1, 3, 5 * sf, 7 * sf)
    assert ('upconv2.weight' in net.state_dict()) == (sf >= 4)


def test_an_impossible_scale_is_refused():
    with pytest.raises(UserError, match='not 3'):
        RRDBNet_LEGACY(sf=3)
