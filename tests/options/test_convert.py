from pathlib import Path

import pytest
import yaml

from aesop.cli import main
from aesop.options import load_options
from aesop.options.convert import convert, convert_file

FOREIGN = Path(__file__).parents[1] / 'data/foreign'


def test_basicsr():
    this = convert_file(FOREIGN / 'basicsr_swinir.yml')
    assert this.left == []
    options = load_options(yaml.safe_load(this.text('x')))
    assert options.model_type == 'SRModel' and options.train.optim_g['lr'] == 2e-4 and options.val.val_freq == 5000
    assert options.network_g['depths'] == [6, 6]
    told = '\n'.join(this.without)
    assert 'train.knowledge_opt: unknown key' in told and 'dist_params: the launcher (torchrun) sets up' in told
    assert this.changed == ['model_type SwinIRModel -> SRModel (networks pad to their windows themselves)']


def test_trainner_redux():
    this = convert_file(FOREIGN / 'trainner_redux.yml')
    options = this.options
    assert options['model_type'] == 'SRGANModel'
    assert options['network_g'] == {'type': 'Spandrel', 'arch': 'RealPLKSR', 'upscaling_factor': 4}
    assert options['network_d'] == {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3}
    assert options['runtime'] == {'precision': 'bf16', 'channels_last': True, 'tf32': False}
    train, data = options['train'], options['datasets']['train']
    assert train['pixel_opt'] == {'type': 'CharbonnierLoss', 'loss_weight': 1.0} and train['accumulate'] == 2
    assert train['losses'] == {'l1loss': {'type': 'L1Loss', 'loss_weight': 0.1}}
    assert train['gan_opt'] == {'type': 'GANLoss', 'gan_type': 'vanilla', 'loss_weight': 0.1}
    assert train['grad_clip_norm'] == 1.0 and train['total_iter'] == 200000
    assert data['type'] == 'MixedDataset' and data['batch_size_per_gpu'] == 8 and data['gt_size'] == 256
    assert data['parts'][1] == {
        'type': 'PairedImageDataset',
        'dataroot_gt': 'datasets/b/HR',
        'dataroot_lq': 'datasets/b/LR',
        'use_hflip': True,
        'use_rot': True,
    }
    assert options['datasets']['val']['dataroot_gt'] == 'datasets/val/HR'
    assert any('mssiml1loss: unknown loss' in line for line in this.without)
    assert any('train.ema_power' in line for line in this.without)
    assert this.left == []


def test_the_mixture_of_augmentations_and_tiles_of_trainner_redux():
    """A file as its templates are: what is known goes on, what is not is told, and nothing is left."""
    data = yaml.safe_load((FOREIGN / 'trainner_redux.yml').read_text())
    mixture = {'moa_augs': ['none', 'mixup', 'resizemix', 'up'], 'moa_probs': [4, 1, 2, 1], 'moa_debug': False}
    train = {'dataroot_gt': ['a/HR'], 'dataroot_lq': ['a/LR'], 'use_moa': True, **mixture, 'use_hfip': True}
    data['datasets']['train'] |= train
    data['val'] = {'val_freq': 1000, 'tile_size': 200, 'tile_overlap': 8}
    data['logger'] = {'save_checkpoint_format': 'safetensors'}
    this = convert(data)
    assert this.left == []
    block = this.options['datasets']['train']
    assert block['type'] == 'AugmentedDataset' and block['augmentations'] == {'mixup': 0.125, 'resizemix': 0.25}
    assert block['gt_size'] == 256 and block['dataset']['dataroot_gt'] == 'a/HR' and 'use_moa' not in str(block)
    assert this.options['val'] == {'val_freq': 1000, 'tile': 200, 'tile_overlap': 8}
    told = '\n'.join(this.without)
    assert 'moa_augs up: this augmentation does not exist here' in told and 'aesop export' in told

    data['datasets']['train']['use_moa'] = False
    this = convert(data)
    assert this.options['datasets']['train']['type'] == 'PairedImageDataset' and this.left == []
    assert any('use_hfip: PairedImageDataset has no such argument' in line for line in this.without)


def test_ours_stays_as_it_is():
    recipe = {'name': 'x', 'model_type': 'SRModel', 'scale': 4, 'network_g': {'type': 'RRDBNet', 'scale': 4}}
    this = convert(recipe)
    assert this.options == recipe and not this.changed + this.without + this.left


@pytest.mark.parametrize(
    ('name', 'block'),
    [
        ('esrgan', {'type': 'RRDBNet', 'scale': 2, 'num_feat': 64, 'num_block': 23}),
        ('span', {'type': 'Spandrel', 'arch': 'SPAN', 'upscale': 2, 'num_in_ch': 3, 'num_out_ch': 3}),
        ('compact', {'type': 'SRVGGNetCompact', 'upscale': 2, 'num_feat': 64, 'num_conv': 16}),
    ],
)
def test_names_that_mean_sizes(name, block):
    assert convert({'scale': 2, 'network_g': {'type': name}}).options['network_g'] == block


def test_every_network_of_the_tables_exists():
    from aesop.archs import build_network
    from aesop.options.convert import OURS, SPANDREL

    pytest.importorskip('spandrel')
    from aesop.archs.spandrel import check_arguments, classes

    for arch, scale, sizes in SPANDREL.values():
        check_arguments(classes()[arch], {scale: 4, **sizes, **({'dim': 8} if arch == 'SAFMN' else {})})
    for kind, scale, sizes in OURS.values():
        build_network({'type': kind, scale: 4, **sizes, **({'num_block': 1} if kind == 'RRDBNet' else {})})


def test_the_command(tmp_path, capsys):
    out = tmp_path / 'new' / 'mine.yml'
    assert main(['convert', str(FOREIGN / 'basicsr_swinir.yml'), '-o', str(out)]) == 0
    assert '1 changes, ' in capsys.readouterr().out
    head = out.read_text().splitlines()
    assert head[0] == '# Converted from basicsr_swinir.yml.' and '# No counterpart:' in head
    assert load_options(out).name == 'SwinIR_small'
    assert main(['convert', str(FOREIGN / 'basicsr_swinir.yml'), '-o', str(out)]) == 2
    assert 'exists: name another file' in capsys.readouterr().err
    assert (
        main(['convert', str(FOREIGN / 'basicsr_swinir.yml')]) == 0 and 'model_type: SRModel' in capsys.readouterr().out
    )
    (tmp_path / 'bad.yml').write_text('- 1')
    assert main(['convert', str(tmp_path / 'bad.yml')]) == 2 and 'is no option file' in capsys.readouterr().err
