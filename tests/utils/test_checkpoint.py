import logging
import os
import pickle
import sys
from collections import OrderedDict

import pytest
import torch
from torch import nn

from aesop.archs import build_network
from aesop.archs.rrdbnet import RRDBNet
from aesop.errors import UserError
from aesop.utils import checkpoint
from tests.golden import fill_, image

TINY = {'num_feat': 8, 'num_block': 2, 'num_grow_ch': 4}
STATE = {
    'iter': 7,
    'best': [0.5, None],
    'name': 'run',
    'optim': {'lr': 1e-4, 'state': {0: {'exp_avg': torch.arange(5000.0)}}},
}


def tiny(scale=4, **changes):
    return fill_(RRDBNet(scale=scale, **{**TINY, **changes}))


def blank(scale=4, **changes):
    return RRDBNet(scale=scale, **{**TINY, **changes})


def auto_encoder(kind='AutoEncoder_RRDBNet'):
    decoder = {'type': 'RRDBNet', 'num_feat': 48, 'num_block': 1, 'num_grow_ch': 8}
    return build_network({'type': kind, 'enc_opt': {'placeholder': 0}, 'dec_opt': decoder})


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# Whole files


def test_round_trip_of_a_training_state(tmp_path):
    path = tmp_path / 'new' / '7.state'
    checkpoint.save(STATE, path)
    loaded = checkpoint.load(path)
    assert torch.equal(loaded['optim']['state'][0].pop('exp_avg'), torch.arange(5000.0))
    assert loaded == {'iter': 7, 'best': [0.5, None], 'name': 'run', 'optim': {'lr': 1e-4, 'state': {0: {}}}}
    assert os.listdir(path.parent) == ['7.state']


def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / '7.state'
    checkpoint.save({'iter': 6}, path)

    def disk_full(obj, file):
        file.write(b'half of it')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(torch, 'save', disk_full)
    with pytest.raises(UserError, match=r'7\.state could not be written.*No space left'):
        checkpoint.save(STATE, path)
    assert checkpoint.load(path) == {'iter': 6}
    assert os.listdir(tmp_path) == ['7.state']


def test_the_data_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(os, 'fsync', lambda _: calls.append('fsync'))
    replace = os.replace
    monkeypatch.setattr(os, 'replace', lambda *paths: (calls.append('rename'), replace(*paths)))
    checkpoint.save(STATE, tmp_path / '7.state')
    assert calls == ['fsync', 'rename', 'fsync']


def test_a_missing_and_an_empty_file_are_told(tmp_path):
    with pytest.raises(UserError, match=r'none\.pth: file not found'):
        checkpoint.load(tmp_path / 'none.pth')
    (tmp_path / 'empty.pth').touch()
    with pytest.raises(UserError, match=r'empty\.pth is damaged \(it is empty\)'):
        checkpoint.load(tmp_path / 'empty.pth')


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('part', [0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.9999])
def test_a_truncated_file_is_told(tmp_path, part, zipped):
    path = tmp_path / 'cut.pth'
    torch.save(STATE, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(UserError, match=r'cut\.pth is damaged'):
        checkpoint.load(path)


@pytest.mark.parametrize('word', [torch.arange(2000.0, 2004.0).numpy().tobytes(), b'exp_avg', b'PK\x05\x06'])
def test_a_flipped_byte_is_told(tmp_path, word):
    path = tmp_path / 'flipped.pth'
    checkpoint.save(STATE, path)
    content = bytearray(path.read_bytes())
    content[content.index(word) + 1] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(UserError, match=r'flipped\.pth is damaged'):
        checkpoint.load(path)


def test_a_file_of_another_kind_is_told(tmp_path):
    (tmp_path / 'page.pth').write_text('<!DOCTYPE html><html>404</html>')
    with pytest.raises(UserError, match=r'page\.pth is damaged \(truncated, or not a PyTorch file\)'):
        checkpoint.load(tmp_path / 'page.pth')


class Malicious:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f'touch {self.mark}',)


@pytest.mark.parametrize(
    'write',
    [
        torch.save,
        lambda obj, path: torch.save(obj, path, _use_new_zipfile_serialization=False),
        lambda obj, path: path.write_bytes(pickle.dumps(obj, protocol=2)),
    ],
    ids=['zip', 'legacy', 'pickle'],
)
def test_a_file_that_would_run_code_is_refused(tmp_path, write):
    mark = tmp_path / 'ran'
    write({'params': Malicious(mark)}, tmp_path / 'bad.pth')
    with pytest.raises(UserError, match=r'bad\.pth is refused.*system.*could run code'):
        checkpoint.load(tmp_path / 'bad.pth')
    assert not mark.exists()


def test_files_of_old_pytorch_open(tmp_path):
    torch.save(tiny().state_dict(), tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    net = blank()
    checkpoint.load_network(net, tmp_path / 'old.pth')
    assert same(net, tiny())


# Entries and prefixes


def test_params_and_params_ema_are_told_apart(tmp_path):
    params, ema = tiny(), blank()
    checkpoint.save_network(tmp_path / 'net.pth', params.state_dict(), ema.state_dict())
    assert list(torch.load(tmp_path / 'net.pth', weights_only=True)) == ['params', 'params_ema']
    for key, wanted in (('params', params), ('params_ema', ema)):
        net = blank()
        checkpoint.load_network(net, tmp_path / 'net.pth', key)
        assert same(net, wanted)


@pytest.mark.parametrize(
    ('wrap', 'key', 'used'),
    [
        (lambda s: {'params_ema': s}, 'params', '`params_ema`'),
        (lambda s: {'params': s}, 'params_ema', '`params`'),
        (lambda s: s, 'params', 'the bare state dict'),
        (lambda s: {'params': s}, None, '`params`'),
        (lambda s: {'net_g': s, 'iter': 5}, 'params', '`net_g`'),
        (lambda s: {'generator': OrderedDict(s)}, 'params', '`generator`'),
        (lambda s: {'net_g': {'params_ema': s}}, 'params', '`params_ema`'),
    ],
)
def test_another_entry_is_taken_and_said(tmp_path, caplog, wrap, key, used):
    torch.save(wrap(tiny().state_dict()), tmp_path / 'net.pth')
    net = blank()
    with caplog.at_level(logging.INFO, 'aesop.utils.checkpoint'):
        checkpoint.load_network(net, tmp_path / 'net.pth', key)
    assert same(net, tiny())
    (record,) = caplog.records
    assert f'using {used}, it has no `{key}`' in record.message


def test_the_entry_asked_for_is_taken_and_said(tmp_path, caplog):
    torch.save({'net_g': {'params': tiny().state_dict()}}, tmp_path / 'net.pth')
    with caplog.at_level(logging.INFO, 'aesop.utils.checkpoint'):
        checkpoint.load_network(blank(), tmp_path / 'net.pth')
    (record,) = caplog.records
    assert record.message.endswith('net.pth: using `params`')


@pytest.mark.parametrize('content', [{'iter': 5}, {}, [1], {'params': {}}])
def test_a_file_without_a_network_is_told(tmp_path, content):
    torch.save(content, tmp_path / 'net.pth')
    with pytest.raises(UserError, match='has no network weights'):
        checkpoint.load_network(blank(), tmp_path / 'net.pth')


@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'module._orig_mod.', '_orig_mod.module.'])
def test_prefixes_of_wrappers_are_stripped(tmp_path, prefix):
    torch.save({'params': {prefix + name: t for name, t in tiny().state_dict().items()}}, tmp_path / 'net.pth')
    net = blank()
    checkpoint.load_network(net, tmp_path / 'net.pth')
    assert same(net, tiny())


@pytest.mark.parametrize('wrap', [nn.DataParallel, torch.compile])
def test_wrapped_networks_load_and_save_like_plain_ones(tmp_path, wrap):
    checkpoint.save_network(tmp_path / 'net.pth', checkpoint.network_state_dict(wrap(fill_(auto_encoder()))))
    net = auto_encoder()
    checkpoint.load_network(wrap(net), tmp_path / 'net.pth')
    assert same(net, fill_(auto_encoder()))
    plain = checkpoint.network_state_dict(net)
    assert plain.keys() == torch.load(tmp_path / 'net.pth', weights_only=True)['params'].keys()


def test_the_state_dict_is_a_copy():
    net = tiny()
    state = checkpoint.network_state_dict(net)
    net.conv_first.weight.data.zero_()
    assert state['conv_first.weight'].any()


# Networks that do not fit


def test_the_wrong_network_is_told_with_names(tmp_path):
    checkpoint.save_network(tmp_path / 'net.pth', tiny().state_dict())
    with pytest.raises(UserError) as error:
        checkpoint.load_network(blank(num_block=3, num_feat=12), tmp_path / 'net.pth')
    message = str(error.value)
    assert 'net.pth does not fit this RRDBNet: 30 missing (body.2.rdb1.conv1.weight, ' in message
    assert 'of another size (conv_first.weight 8x3x3x3 instead of 12x3x3x3, conv_first.bias 8 instead of 12' in message
    with pytest.raises(UserError, match=r'30 unexpected \(body\.1\.rdb1\.conv1\.weight, .*strict_load: false'):
        checkpoint.load_network(blank(num_block=1), tmp_path / 'net.pth')


def test_a_refused_file_changes_nothing(tmp_path):
    checkpoint.save_network(tmp_path / 'net.pth', tiny().state_dict())
    net = blank(num_block=3)
    before = {name: t.clone() for name, t in net.state_dict().items()}
    with pytest.raises(UserError):
        checkpoint.load_network(net, tmp_path / 'net.pth')
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())


def test_not_strict_loads_what_fits_and_says_what_it_left(tmp_path, caplog):
    checkpoint.save_network(tmp_path / 'net.pth', tiny(num_grow_ch=6).state_dict())
    net = blank()
    before = net.body[0].rdb1.conv1.weight.clone()
    checkpoint.load_network(net, tmp_path / 'net.pth', strict=False)
    assert torch.equal(net.conv_body.weight, tiny().conv_body.weight)
    assert torch.equal(net.body[0].rdb1.conv1.weight, before)
    (record,) = [record for record in caplog.records if record.levelname == 'WARNING']
    assert 'of the 72 tensors of RRDBNet' in record.message
    assert 'body.0.rdb1.conv1.weight 6x8x3x3 instead of 4x8x3x3' in record.message


def test_not_strict_still_refuses_a_file_of_which_nothing_fits(tmp_path):
    torch.save({'linear.weight': torch.ones(2)}, tmp_path / 'net.pth')
    with pytest.raises(UserError, match='does not fit'):
        checkpoint.load_network(blank(), tmp_path / 'net.pth', strict=False)


# The auto-encoder's two names


def test_both_names_are_written_and_share_their_memory(tmp_path):
    net = fill_(auto_encoder())
    state = checkpoint.network_state_dict(net)
    for name, alias in (
        ('encoder.0.0.weight', 'conv_first.0.weight'),
        ('encoder.2.1.rdb3.conv5.bias', 'body.1.rdb3.conv5.bias'),
        ('encoder.3.1.bias', 'conv_last.1.bias'),
    ):
        assert state[name].data_ptr() == state[alias].data_ptr()
    checkpoint.save_network(tmp_path / 'net.pth', state)
    once = sum(t.nbytes for t in net.state_dict().values())
    names = sum(t.nbytes for t in state.values())
    assert once < (tmp_path / 'net.pth').stat().st_size < (once + names) / 2


def test_full_size_holds_838_names_for_770_tensors():
    decoder = {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 64, 'num_block': 23, 'num_grow_ch': 32}
    net = build_network({'type': 'AutoEncoder_RRDBNet', 'enc_opt': {'placeholder': 0}, 'dec_opt': decoder})
    state = checkpoint.network_state_dict(net)
    assert len(state) == 838
    assert len({t.data_ptr() for t in state.values()}) == len(net.state_dict()) == 770


@pytest.mark.parametrize('names', ['both', 'first', 'second'])
def test_a_file_with_either_name_or_both_loads_strictly(tmp_path, names):
    state = checkpoint.network_state_dict(fill_(auto_encoder()))
    unwanted = {'both': ('-',), 'first': ('conv_first.', 'body.', 'conv_last.'), 'second': ('encoder.',)}[names]
    torch.save({'params': {n: t for n, t in state.items() if not n.startswith(unwanted)}}, tmp_path / 'net.pth')
    net = auto_encoder()
    checkpoint.load_network(net, tmp_path / 'net.pth')
    assert same(net, fill_(auto_encoder()))


def test_an_unused_encoder_is_ignored_and_said(tmp_path, caplog):
    whole = fill_(auto_encoder())
    published = {n: t for n, t in checkpoint.network_state_dict(whole).items() if not n.startswith('encoder.')}
    torch.save({'params': published}, tmp_path / 'net.pth')
    net = auto_encoder('BicubicDown_RRDBNet')
    with caplog.at_level(logging.INFO, 'aesop.utils.checkpoint'):
        checkpoint.load_network(net, tmp_path / 'net.pth')
    assert same(net.decoder, whole.decoder)
    assert '60 tensors encoder.2.*' in caplog.text


# Older names of ESRGAN


def names_of_2019(name):
    for old, new in (('RRDB_trunk', 'body'), ('trunk_conv', 'conv_body'), ('HRconv', 'conv_hr'), ('upconv', 'conv_up')):
        name = name.replace(new, old) if name.startswith(new) else name
    return name.replace('rdb', 'RDB')


def names_of_2018(name, scale):
    plain = {'conv_first': 0, 'conv_body': f'1.sub.{TINY["num_block"]}', 'conv_up1': 3, 'conv_up2': 6}
    plain |= {'conv_hr': 8, 'conv_last': 10} if scale == 4 else {'conv_up3': 9, 'conv_hr': 11, 'conv_last': 13}
    stem, kind = name.rsplit('.', 1)
    if stem in plain:
        return f'model.{plain[stem]}.{kind}'
    return f'{stem.replace("body", "model.1.sub").replace("rdb", "RDB")}.0.{kind}'


@pytest.mark.parametrize('scale', [4, 8])
@pytest.mark.parametrize('year', [2018, 2019])
def test_old_esrgan_files_open(tmp_path, year, scale):
    old = {
        names_of_2018(name, scale) if year == 2018 else names_of_2019(name): t
        for name, t in tiny(scale).state_dict().items()
    }
    example = {2018: 'model.1.sub.1.RDB3.conv5.0.bias', 2019: 'RRDB_trunk.1.RDB3.conv5.bias'}[year]
    assert example in old
    torch.save(old, tmp_path / 'old.pth')
    net = blank(scale)
    checkpoint.load_network(net, tmp_path / 'old.pth')
    x = image(1, 3, 6, 6)
    assert torch.equal(net.eval()(x), tiny(scale)(x))


def test_old_names_are_left_alone_where_the_network_uses_them(tmp_path):
    net = nn.ModuleDict({'HRconv': nn.Conv2d(3, 3, 3)})
    torch.save({'params': net.state_dict()}, tmp_path / 'net.pth')
    loaded = nn.ModuleDict({'HRconv': nn.Conv2d(3, 3, 3)})
    checkpoint.load_network(loaded, tmp_path / 'net.pth')
    assert same(net, loaded)


def test_a_1x1_convolution_loads_as_the_linear_layer_that_it_is(tmp_path):
    conv, linear = nn.Conv2d(4, 2, 1), nn.Linear(4, 2)
    checkpoint.save_network(tmp_path / 'net.pth', conv.state_dict())
    checkpoint.load_network(linear, tmp_path / 'net.pth')
    x = torch.rand(1, 4, 1, 1)
    torch.testing.assert_close(conv(x)[..., 0, 0], linear(x[..., 0, 0]))


# safetensors


def test_safetensors_round_trip(tmp_path):
    safetensors = pytest.importorskip('safetensors.torch')
    net, path = fill_(auto_encoder()), tmp_path / 'net.safetensors'
    checkpoint.save_network(path, checkpoint.network_state_dict(net))  # two names a tensor
    assert len(safetensors.load_file(path)) == len(checkpoint.network_state_dict(net))
    other = auto_encoder()
    checkpoint.load_network(other, path)
    assert same(net, other)


def test_a_truncated_safetensors_file_is_told(tmp_path):
    pytest.importorskip('safetensors.torch')
    path = tmp_path / 'net.safetensors'
    checkpoint.save_network(path, tiny().state_dict())
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match=r'net\.safetensors is damaged'):
        checkpoint.load(path)


def test_safetensors_need_no_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    checkpoint.save_network(tmp_path / 'net.safetensors', tiny().state_dict(), metadata={'scale': '4'})
    assert checkpoint.load(tmp_path / 'net.safetensors').keys() == tiny().state_dict().keys()


# Weights by name


def test_an_option_names_weights_by_path_or_as_the_manifest_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = checkpoint.PRETRAINED / checkpoint.manifest()['ESRGAN_x4']['file']
    with pytest.raises(UserError, match=f'ESRGAN_x4: file {path} not found; .*aesop download ESRGAN_x4'):
        checkpoint.load_network(blank(), 'ESRGAN_x4')
    checkpoint.save_network(path, tiny().state_dict())
    assert checkpoint.find_weights('ESRGAN_x4') == path
    net = blank()
    checkpoint.load_network(net, 'ESRGAN_x4')
    assert same(net, tiny())
    for other in ('folder/ESRGAN_x4', 'unknown'):
        assert str(checkpoint.find_weights(other)) == other
    checkpoint.save_network('ESRGAN_x4', blank().state_dict())  # a file of that name is what a path means
    assert str(checkpoint.find_weights('ESRGAN_x4')) == 'ESRGAN_x4'
