"""Names and keys of other programs' files, and files that are no such files at all."""

from pathlib import Path

import pytest

from aesop.errors import UserError
from aesop.options import load_options
from aesop.options.translate import NAMES
from aesop.registry import ARCHS, DATASETS, METRICS, MODELS
from tests.options.peers import FILES

NET = {'type': 'RRDBNet', 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4}
PAIRS = {'type': 'PairedImageDataset', 'dataroot_gt': 'hr', 'dataroot_lq': 'lr'}


def load(**blocks):
    return load_options({'model_type': 'SRModel', 'scale': 4, 'network_g': NET} | blocks)


def test_every_name_that_is_translated_to_exists():
    known = {name for registry in (ARCHS, DATASETS, METRICS, MODELS) for name in registry.names()}
    assert set(NAMES.values()) <= known and not known & NAMES.keys()


def test_empty_texts_are_no_paths_and_no_suffix():
    options = load(
        path={'pretrain_network_g': '', 'resume_state': ''},
        val={'suffix': ''},
        datasets={'val': {**PAIRS, 'meta_info': ''}},
    )
    assert options.path.pretrain_network_g is options.path.resume_state is options.val.suffix is None
    assert options.datasets['val'].get('meta_info') is None


def test_numbers_are_taken_for_what_they_mean():
    options = load(name=123, scale=4.0, datasets={'val': {**PAIRS, 'name': 14}})
    assert (options.name, options.scale, options.datasets['val'].name) == ('123', 4, '14')
    with pytest.raises(UserError, match='scale: must be a whole number'):
        load(scale=4.5)


def test_paired_data_are_sharpened_for_the_losses_that_say_so():
    options = load_options(FILES['Real-ESRGAN/finetune_realesrgan_x4plus_pairdata'])
    assert options.datasets['train'].type == 'PairedImageDataset'
    assert options.train.pixel_opt.of == options.train.perceptual_opt.of == ['sr', 'gt_usm']
    assert options.train.gan_opt.of is None


def test_the_order_of_degradation_has_to_go_with_the_data():
    with pytest.raises(UserError, match='high_order_degradation: True means `type: RealESRGANDataset`'):
        load(high_order_degradation=True, datasets={'train': {**PAIRS, 'gt_size': 32}})


def test_ldl_opt_is_the_artifact_loss():
    loss = load_options(FILES['BasicSR/train_ESRGAN_x4_ldl_opt']).train.artifacts_opt
    assert (loss.type, loss['criterion'], loss['loss_weight']) == ('ArtifactLoss', 'l1', 1.0)


@pytest.mark.parametrize('override', ['train:ema_decay=None', 'train.ema_decay=null', 'train.ema_decay=~'])
def test_null_by_override(override):
    options = {'train': {'total_iter': 1, 'optim_g': {'type': 'Adam', 'lr': 1}, 'ema_decay': 0.9, 'pixel_opt': None}}
    assert load_options(options, ['logger.keep_last=None', override]).train.ema_decay == 0
    assert load_options(options, ['logger:keep_last=None']).logger.keep_last is None


def test_null_takes_unknown_keys_away(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('base.yml').write_text('network_g: {type: RRDBNet, nme: 1}\nval: {frq: 3}\nfoo: {a: 1}\n')
    Path('child.yml').write_text('base: base.yml\nfoo: ~\nval: {frq: ~}\nnetwork_g: {nme: ~}\n')
    assert load_options('child.yml').network_g.plain() == {'type': 'RRDBNet'}
    assert load_options('base.yml', ['foo=null', 'val.frq=~', 'network_g.nme=None']) == load_options('child.yml')
    with pytest.raises(UserError, match='frq: unknown key'):
        load_options('base.yml', ['foo=null'])


KAIR = '{\n  "task": "sr" // folder\n  , "gpu_ids": [0]\n  , "netG": {"net_type": "swinir"}\n}\n'
NEOSR = 'name = "x"\nmodel_type = "image"\nscale = 4\n[datasets.train]\ntype = "paired"\n'
TRAINNER = 'name: x\nscale: 4\nuse_amp: true\namp_bf16: true\ntrain:\n  losses:\n    - type: l1loss\n'


@pytest.mark.parametrize(
    ('text', 'program'),
    [
        (KAIR, 'KAIR'),
        ('{"task": "sr", "gpu_ids": [0], "netG": {"net_type": "swinir"}}', 'KAIR'),
        (NEOSR, 'neosr'),
        ('name: x\nmodel_type: image\nscale: 4\nbfloat16: true\n', 'neosr'),
        (TRAINNER, 'traiNNer-redux'),
    ],
)
def test_a_file_of_another_program_gets_one_line(text, program, tmp_path):
    (tmp_path / 'opt.yml').write_text(text)
    with pytest.raises(UserError) as error:
        load_options(tmp_path / 'opt.yml')
    (problem,) = error.value.problems
    assert problem.startswith(f'{tmp_path}/opt.yml: an option file of {program}, which has other keys: ')


def test_a_plugin_that_takes_a_name_of_ours_is_named(tmp_path, monkeypatch):
    (tmp_path / 'my_names.py').write_text(
        'from aesop.registry import ARCHS\n\n\n@ARCHS.register()\nclass RRDBNet:\n    pass\n'
    )
    (tmp_path / 'opt.yml').write_text('plugins: [my_names]\nnetwork_g: {type: RRDBNet}\n')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError) as error:
        load_options(tmp_path / 'opt.yml')
    (problem,) = error.value.problems
    told = 'plugins.0: my_names: a network named "RRDBNet" is already registered; rename one of the two'
    assert problem == f'{tmp_path}/opt.yml:1: {told}'


def test_images_may_be_called_as_by_basicsr():
    val = load(name='a/run', val={'suffix': '{name}'}).val
    assert val.image_suffix('a/run') == '_a_run'
    assert load(val={'suffix': 'x4'}).val.image_suffix('run') == '_x4' and load().val.image_suffix('run') == ''
