import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

from aesop.archs import build_network
from aesop.archs.basicsr_shim import stand_in
from aesop.errors import UserError
from aesop.registry import ARCHS

FILES = Path(__file__).parents[1] / 'data/basicsr_style'
MODULES = ('residual_arch', 'window_arch', 'swinir_arch')


@pytest.fixture
def imported(monkeypatch):
    ARCHS.names()
    monkeypatch.setattr(ARCHS, '_parts', dict(ARCHS._parts))
    monkeypatch.syspath_prepend(FILES)
    with stand_in():
        yield [import_module(name) for name in MODULES]
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ('block', 'scale'),
    [
        ({'type': 'TinyResidual', 'num_feat': 4}, 4),
        ({'type': 'TinyResidual', 'upscale': 3}, 3),
        ({'type': 'TinyWindows'}, 2),
        ({'type': 'TinyWindows', 'upscale': 4, 'window_size': 5}, 4),
        ({'type': 'swinir_arch.SwinIR', 'num_feat': 4}, 1),
    ],
)
def test_they_are_networks_like_ours(imported, block, scale):
    net = build_network(block)
    size = (12, 14) if scale == 1 else (11, 13)  # no multiples of a window
    assert net.scale == scale
    assert net(torch.rand(2, 3, *size)).shape == (2, 3, size[0] * scale, size[1] * scale)
    assert not any(name.startswith('net.') for name in net.state_dict())


def test_windows_are_told_by_the_constructor(imported):
    net = build_network({'type': 'TinyWindows', 'window_size': 4})
    assert net.window_size == 4
    plain = imported[1].TinyWindows(window_size=4)
    plain.load_state_dict(net.state_dict())
    lq = torch.rand(1, 3, 8, 12)
    assert torch.equal(net(lq), plain(lq))


def test_arguments_are_checked(imported):
    with pytest.raises(UserError, match='TinyResidual has no argument "num_feats". Did you mean "num_feat"'):
        build_network({'type': 'TinyResidual', 'num_feats': 3})


def test_a_class_may_derive_from_another(imported):
    assert build_network({'type': 'TinyChild', 'num_feat': 4})(torch.rand(1, 3, 8, 8)).shape == (1, 3, 8, 8)
    assert issubclass(imported[2].TinyChild, imported[2].SwinIR)


def test_it_is_there_while_plugins_are_imported_alone(monkeypatch):
    real = object()
    monkeypatch.setitem(sys.modules, 'basicsr', real)
    with stand_in():
        assert sys.modules['basicsr'] is not real and 'basicsr.archs.arch_util' in sys.modules
        with pytest.raises(ImportError):
            import_module('basicsr.models.sr_model')
    assert sys.modules['basicsr'] is real and 'basicsr.archs.arch_util' not in sys.modules
    monkeypatch.delitem(sys.modules, 'basicsr')
    with pytest.raises(ModuleNotFoundError):
        import_module('basicsr')


def test_an_option_file_names_such_a_file_as_a_plugin(monkeypatch):
    from aesop.options import load_options

    monkeypatch.setattr(ARCHS, '_parts', {name: ARCHS.get(name) for name in ARCHS.names()})
    monkeypatch.syspath_prepend(FILES)
    for name in MODULES:
        sys.modules.pop(name, None)
    options = {
        'model_type': 'SRModel',
        'plugins': ['window_arch'],
        'network_g': {'type': 'TinyWindows', 'window_size': 4},
    }
    assert build_network(load_options(options).network_g).window_size == 4
    with pytest.raises(UserError, match='Did you mean "window_size"'):
        load_options(options | {'network_g': {'type': 'TinyWindows', 'window_sizes': 4}})
    assert 'basicsr' not in sys.modules
    sys.modules.pop('window_arch')
