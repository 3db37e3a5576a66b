import pytest

from aesop.errors import UserError
from aesop.options import load_options

AE = {'type': 'AutoEncoder_RRDBNet', 'dec_opt': {'type': 'RRDBNet', 'num_block': 1}}


def told(**data):
    """The problems of a dict, without their 'options: '."""
    try:
        load_options(data)
    except UserError as error:
        return [problem.removeprefix('options: ') for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ('data', 'sentence'),
    [
        ({'scale': 4.5}, 'scale: must be a whole number, not 4.5'),
        ({'scale': True}, 'scale: must be a whole number, not true'),
        ({'scale': '4'}, "scale: must be a whole number, not '4'"),
        ({'scale': 0}, 'scale: must be at least 1, not 0'),
        ({'num_gpu': 'all'}, "num_gpu: must be 'auto' or must be a whole number, not 'all'"),
        ({'train': [1]}, 'train: must be a block of keys, not [1]'),
        ({'train': {'ema_decay': 1}}, 'train.ema_decay: must be below 1.0, not 1'),
        ({'val': {'save_img': 'yes please'}}, "val.save_img: must be true or false, not 'yes please'"),
        ({'resize_prob': [0.2, 0.8]}, 'resize_prob: must have at least 3 values, not [0.2, 0.8]'),
        ({'jpeg_range': [95, 30]}, 'jpeg_range: must be [low, high], not [95, 30]'),
        ({'total_iter': 5}, 'total_iter: unknown key. Did you mean "train.total_iter"?'),
        ({'netwrok_g': {}}, 'netwrok_g: unknown key. Did you mean "network_g"?'),
        ({'val': {'metric': {}}}, 'val.metric: unknown key. Did you mean "metrics"?'),
        ({'network_g': {'num_feat': 3}}, 'network_g: needs "type"'),
        (
            {'datasets': {'trian': {'type': 'PairedImageDataset', 'dataroot_gt': 'x'}}},
            "datasets.trian: a data set is called train, val, val_2, test_1, ..., not a block",
        ),
        ({'model_type': 'AesopModel'}, 'model_type: unknown model "AesopModel". Did you mean "AEModel"?'),
        ({'plugins': ['os; x']}, None),
    ],
)  # fmt: skip
def test_fixed_keys(data, sentence):
    found = told(**data)
    if sentence is None:
        assert len(found) == 1
    else:
        assert found == [sentence]


@pytest.mark.parametrize(
    ('block', 'sentence'),
    [
        ({'type': 'RDBNet'}, '.type: unknown network "RDBNet". Did you mean "RRDBNet"?'),
        ({'type': 'RRDBNet', 'num_blok': 3}, '.num_blok: RRDBNet has no such argument. Did you mean "num_block"?'),
        ({'type': 'RRDBNet', 'num_block': '3'}, ".num_block: must be a whole number, not '3'"),
        ({'type': 'RRDBNet', 'num_feat': -64}, '.num_feat: must be at least 1, not -64'),
        ({'type': 'RRDBNet', 'num_feat': 0}, '.num_feat: must be at least 1, not 0'),
        ({'type': 'AutoEncoder_RRDBNet'}, ': AutoEncoder_RRDBNet needs the argument "dec_opt"'),
        ({**AE, 'dec_opt': {'num_feat': 3}}, '.dec_opt: needs "type"'),
        (
            {**AE, 'dec_opt': {'type': 'RRDBNet', 'num_blck': 3}},
            '.dec_opt.num_blck: RRDBNet has no such argument. Did you mean "num_block"?',
        ),
        (
            {**AE, 'enc_opt': {'num_faet': 3}},
            '.enc_opt.num_faet: RRDBEncoder has no such argument. Did you mean "num_feat"?',
        ),
    ],
)
def test_network_blocks(block, sentence):
    assert told(network_g=block) == [f'network_g{sentence}']


def test_null_stands_for_the_default_of_an_argument_that_takes_none():
    options = load_options(
        {
            'network_g': {'type': 'RRDBNet', 'num_feat': None, 'scale': 4},
            'datasets': {'train': {'type': 'PairedImageDataset', 'dataroot_gt': 'x', 'dataroot_lq': None}},
            'train': {'warmup_iter': None, 'scheduler': None},
        }
    )
    assert options.network_g == {'type': 'RRDBNet', 'scale': 4}
    assert options.datasets['train'] == {'type': 'PairedImageDataset', 'dataroot_gt': 'x', 'dataroot_lq': None}
    assert (options.train.warmup_iter, options.train.scheduler) == (-1, None)
    assert told(datasets={'val': {'type': 'PairedImageDataset', 'dataroot_gt': None}}) == [
        'datasets.val.dataroot_gt: must be text, not ~'
    ]


@pytest.mark.parametrize(
    ('block', 'sentence'),
    [
        ({'type': 'Xyzzy', 'lr': 1e-4}, '.type: unknown optimiser "Xyzzy". Known: '),
        ({'type': 'adam', 'lr': 1e-4}, '.type: unknown optimiser "adam". Did you mean "Adam"?'),
        ({'type': 'LBFGS', 'lr': 1e-4}, '.type: unknown optimiser "LBFGS".'),
        ({'type': 'Adam'}, ': needs "lr"'),
        ({'type': 'Adam', 'lr': 1e-4, 'beta': [0.9]}, '.beta: Adam has no such argument. Did you mean "betas"?'),
        ({'type': 'SGD', 'lr': 1e-4, 'betas': [0.9, 0.99]}, '.betas: SGD has no such argument.'),
        ({'type': 'Adam', 'lr': -1e-4}, '.lr: must be at least 0.0, not -0.0001'),
        ({'type': 'Adam', 'lr': 1e-4, 'betas': [0.9]}, '.betas: has too few values'),
        (
            {'type': 'Adam', 'lr': 1e-4, 'betas': [0.9, 1.5]},
            ': Adam does not accept its arguments: Invalid beta parameter',
        ),
        (
            {'type': 'Adam', 'lr': 1e-4, 'weight_decay': -1},
            ': Adam does not accept its arguments: Invalid weight_decay',
        ),
        ({'type': 'Adam', 'lr': 1e-4, 'params': []}, '.params: Adam has no such argument.'),
    ],
)
def test_optimisers(block, sentence):
    (problem,) = told(train={'optim_g': block})
    assert problem.startswith(f'train.optim_g{sentence}')


@pytest.mark.parametrize(
    ('block', 'sentence'),
    [
        ({'milestones': [1]}, ': needs "type"'),
        ({'type': 'StepLR'}, '.type: unknown scheduler "StepLR". Did you mean "MultiStepLR"?'),
        ({'type': 'MultiStepLR'}, ': needs "milestones"'),
        ({'type': 'MultiStepLR', 'milestones': [1.5]}, '.milestones.0: must be a whole number, not 1.5'),
        ({'type': 'MultiStepLR', 'milestones': [1], 'gama': 1}, '.gama: unknown key. Did you mean "gamma"?'),
        ({'type': 'CosineAnnealingRestartLR', 'periods': []}, '.periods: must have at least 1 values, not []'),
        (
            {'type': 'CosineAnnealingRestartLR', 'periods': [5, 5, 5], 'restart_weights': [1, 1]},
            '.restart_weights: has 2 values for 3 periods, not [1, 1]',
        ),
    ],
)
def test_schedulers(block, sentence):
    (problem,) = told(train={'scheduler': block})
    assert problem in (f'train.scheduler{sentence}', f'train.scheduler{sentence.removeprefix(".type")}')


def test_losses_metrics_and_data_sets():
    assert told(train={'pixel_opt': {'type': 'L1Loss', 'weight': 1}})[0].startswith(
        'train.pixel_opt.weight: L1Loss has'
    )
    assert told(train={'losses': {'mine': {'type': 'NoLoss'}}})[0].startswith('train.losses.mine.type: unknown loss')
    assert told(val={'metrics': {'p': {'type': 'calculate_psrn'}}}) == [
        'val.metrics.p.type: unknown metric "calculate_psrn". Did you mean "calculate_psnr"?'
    ]
    data = {'type': 'PairedImageDataset', 'dataroot_gt': 'x', 'batch_size_per_gpu': 0, 'use_hflp': True}
    data['metrics'] = {'p': {'type': 'calculate_psnr', 'crop_border': 'x'}}
    assert sorted(told(datasets={'test_3': data})) == [
        'datasets.test_3.batch_size_per_gpu: must be at least 1, not 0',
        "datasets.test_3.metrics.p.crop_border: must be a whole number, not 'x'",
        'datasets.test_3.use_hflp: PairedImageDataset has no such argument. Did you mean "use_hflip"?',
    ]
    aesop = {'type': 'AutoEncoderLoss', 'autoencoder_arch': AE, 'autoencoder_load': {'pth': 'x', 'key': 1}}
    assert told(train={'aesop_opt': aesop}) == [
        'train.aesop_opt.autoencoder_load.pth: unknown key. Did you mean "path"?',
        'train.aesop_opt.autoencoder_load.key: must be text, not 1',
    ]


@pytest.mark.parametrize(
    ('discriminator', 'patch', 'fits'),
    [
        ({'type': 'VGGStyleDiscriminator128'}, 128, True),
        ({'type': 'VGGStyleDiscriminator128'}, 96, False),
        ({'type': 'VGGStyleDiscriminator256'}, 128, False),
        ({'type': 'VGGStyleDiscriminator'}, 128, True),
        ({'type': 'VGGStyleDiscriminator', 'input_size': 64}, 64, True),
        ({'type': 'VGGStyleDiscriminator', 'input_size': 64}, 128, False),
    ],
)
def test_patch_and_discriminator(discriminator, patch, fits):
    data = {'train': {'type': 'BicubicImageDataset', 'dataroot_gt': 'x', 'gt_size': patch}}
    found = told(datasets=data, network_d=discriminator)
    assert bool(found) != fits
    assert all(f'datasets.train.gt_size: {patch} does not fit network_d' in problem for problem in found)
    # where the degradation runs on the device, its crop counts
    degraded = {'train': {'type': 'BicubicImageDataset', 'dataroot_gt': 'x', 'gt_size': 400}}
    assert bool(told(gt_size=patch, datasets=degraded, network_d=discriminator)) != fits


def test_scales_must_agree():
    assert told(scale=2, network_g={'type': 'RRDBNet', 'scale': 4}) == [
        'network_g.scale: RRDBNet has scale 4, but the options set `scale: 2`'
    ]
    assert told(scale=2, network_g={'type': 'RRDBNet'}) == [
        'network_g: RRDBNet has scale 4, but the options set `scale: 2`'
    ]
    assert told(scale=2, network_g={'type': 'MSRResNet', 'upscale': 2}) == []
    assert told(scale=2, network_g=AE)[0].startswith('network_g.dec_opt: RRDBNet has scale 4')
    assert told(scale=2, val={'metrics': {'lr': {'type': 'LRPSNR'}}})[0].startswith('val.metrics.lr: LRPSNR has')
    assert told(scale=2, train={'aesop_opt': {'type': 'AutoEncoderLoss', 'autoencoder_arch': AE}})[0].startswith(
        'train.aesop_opt.autoencoder_arch.dec_opt: RRDBNet has scale 4'
    )
    data = {'train': {'type': 'BicubicImageDataset', 'dataroot_gt': 'x', 'gt_size': 130}}
    assert told(scale=4, datasets=data) == ['datasets.train.gt_size: 130 is not a multiple of the scale, 4']


def test_model_and_networks_must_agree():
    rrdb = {'type': 'RRDBNet'}
    assert told(model_type='AEModel', network_g=rrdb) == [
        'network_g.type: RRDBNet has no encoder; AEModel trains an auto-encoder'
    ]
    assert told(model_type='AEModel', network_g=AE) == []
    assert told(model_type='ESRGANModel', network_g=rrdb) == []
    assert told(model_type='ESRGANModel', network_g=rrdb, train={'total_iter': 5}) == [
        'model_type: ESRGANModel trains a discriminator: network_d is missing'
    ]
    assert told(model_type='SRModel', train={'gan_opt': {'type': 'GANLoss', 'gan_type': 'vanilla'}}) == [
        'train.gan_opt: SRModel would ignore it; remove it, or take another model_type'
    ]
    artifacts = {'artifacts_opt': {'type': 'L1Loss'}}
    assert told(network_g=rrdb, train=artifacts) == [
        'train.artifacts_opt: needs the moving average of the generator: set ema_decay, e.g. 0.999'
    ]
    assert told(network_g=rrdb, train={**artifacts, 'ema_decay': 0.9}) == []


def test_what_a_model_would_ignore_or_cannot_use_is_refused():
    unet, adam = {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3}, {'type': 'Adam', 'lr': 1e-4}
    assert told(model_type='SRModel', network_d_grad=unet) == [
        'network_d_grad: SRModel would ignore it; remove it, or take another model_type'
    ]
    train = {'branch_opt': {'type': 'L1Loss'}, 'optim_d_grad': adam}
    found = told(model_type='ESRGANModel', network_g={'type': 'RRDBNet'}, network_d=unet, train=train)
    assert any(p.startswith('train.branch_opt: L1Loss reads branch, which nothing provides') for p in found)
    assert 'train.optim_d_grad: is for network_d_grad, which is missing' in found


def test_networks_take_the_channels_that_images_have():
    assert told(model_type='ESRGANModel', network_g={'type': 'RRDBNet', 'num_in_ch': 1}) == [
        'network_g.num_in_ch: is 1, but the images have 3, RGB'
    ]
    assert told(network_g={'type': 'RRDBNet'}) == []


def test_a_metric_whose_type_is_no_text_is_told():
    (line,) = told(val={'metrics': {'a': {'type': {'b': 1}}}})
    assert line.startswith('val.metrics.a.type: must be text')


def test_losses_of_the_wrong_kind_and_losses_that_are_images_are_refused():
    adversarial = {'type': 'GANLoss', 'gan_type': 'vanilla'}
    found = told(train={'pixel_opt': adversarial, 'gan_opt': {'type': 'L1Loss', 'reduction': 'none'}})
    assert 'train.pixel_opt.type: GANLoss is an adversarial loss' in found
    assert 'train.gan_opt.type: L1Loss is not an adversarial loss' in found
    assert "train.gan_opt.reduction: none returns an image, but training needs a scalar: use 'mean' or 'sum'" in found


def test_a_value_that_the_loss_does_not_know_is_told_with_the_rest():
    gan, pixel = {'type': 'GANLoss', 'gan_type': 'vanila'}, {'type': 'L1Loss', 'reduction': 'average'}
    assert told(train={'gan_opt': gan, 'pixel_opt': pixel}) == [
        "train.pixel_opt.reduction: must be 'mean', 'sum' or 'none', not 'average'",
        "train.gan_opt.gan_type: must be 'vanilla', 'lsgan', 'l1', 'wgan', 'wgan_softplus' or 'hinge', not 'vanila'",
    ]


INNER = {'type': 'BicubicImageDataset', 'dataroot_gt': 'x', 'use_flop': True}


@pytest.mark.parametrize(
    ('block', 'place'),
    [
        ({'type': 'AugmentedDataset', 'dataset': INNER}, 'dataset'),
        ({'type': 'DegradedDataset', 'gt_size': 64, 'steps': [], 'dataset': INNER}, 'dataset'),
        ({'type': 'MixedDataset', 'parts': [{'type': 'BicubicImageDataset'}, INNER]}, 'parts.1'),
        ({'type': 'MixedDataset', 'parts': [{'type': 'AugmentedDataset', 'dataset': INNER}]}, 'parts.0.dataset'),
    ],
)
def test_data_sets_inside_data_sets(block, place):
    """What a data set hands down to those inside it (gt_size, `common`) may be missing there."""
    wanted = f'datasets.train.{place}.use_flop: BicubicImageDataset has no such argument. Did you mean "use_flip"?'
    assert told(datasets={'train': block}) == [wanted]


def test_a_data_set_inside_another_is_told_by_file_and_line(tmp_path):
    file = tmp_path / 'mine.yml'
    file.write_text(
        'datasets:\n  train:\n    type: MixedDataset\n    parts:\n'
        '      - type: BicubicImageDataset\n        gt_sise: 64\n      - {type: PairedDataset}\n'
    )
    with pytest.raises(UserError) as error:
        load_options(file)
    assert [problem.removeprefix(f'{file}:') for problem in error.value.problems] == [
        '6: datasets.train.parts.0.gt_sise: BicubicImageDataset has no such argument. Did you mean "gt_size"?',
        '7: datasets.train.parts.1.type: unknown dataset "PairedDataset". Did you mean "PairedImageDataset"?',
    ]


@pytest.mark.parametrize(('override', 'problem'), [
    ('network_g.num_block=0', None),
    ('network_g.num_block=-1', 'network_g.num_block: must be at least 0, not -1'),
    ('network_g.num_feat=0', 'network_g.num_feat: must be at least 1, not 0'),
])  # fmt: skip
def test_a_number_that_may_be_zero(override, problem):
    if problem is None:
        assert load_options('options/train_psnr_rrdb.yml', [override]).network_g['num_block'] == 0
    else:
        with pytest.raises(UserError, match=problem):
            load_options('options/train_psnr_rrdb.yml', [override])
