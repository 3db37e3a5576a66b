"""What the option files of BasicSR, LDL and Real-ESRGAN hold, put together from the keys and values they share."""

from typing import Any

Options = dict[str, Any]

ADAM = {'type': 'Adam', 'lr': 1e-4, 'weight_decay': 0, 'betas': [0.9, 0.99]}
PSNR = {'psnr': {'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': False, 'better': 'higher'}}
NIQE = {'niqe': {'type': 'calculate_niqe', 'crop_border': 0, 'better': 'lower'}}
LAYERS = {'conv1_2': 0.1, 'conv2_2': 0.1, 'conv3_4': 1, 'conv4_4': 1, 'conv5_4': 1}
LOGGER = {
    'print_freq': 100,
    'save_checkpoint_freq': 5e3,
    'use_tb_logger': True,
    'wandb': {'project': None, 'resume_id': None},
}
DIST = {'backend': 'nccl', 'port': 29500}
PIXEL = {'type': 'L1Loss', 'loss_weight': 1e-2, 'reduction': 'mean'}
GAN = {
    'type': 'GANLoss',
    'gan_type': 'vanilla',
    'real_label_val': 1.0,
    'fake_label_val': 0.0,
    'loss_weight': 5e-3,
}
RRDB = {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 64, 'num_block': 23, 'num_grow_ch': 32}
MSR = {'type': 'MSRResNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 64, 'num_block': 16, 'upscale': 4}
SWINIR = {
    'type': 'SwinIR',
    'upscale': 4,
    'in_chans': 3,
    'img_size': 48,
    'window_size': 8,
    'img_range': 1.0,
    'depths': [6] * 6,
    'embed_dim': 180,
    'num_heads': [6] * 6,
    'mlp_ratio': 2,
    'upsampler': 'pixelshuffle',
    'resi_connection': '1conv',
}
VGG128 = {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 64}
UNET = {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3, 'num_feat': 64, 'skip_connection': True}


def perceptual(layers: dict[str, float]) -> Options:
    return {
        'type': 'PerceptualLoss',
        'layer_weights': layers,
        'vgg_type': 'vgg19',
        'use_input_norm': True,
        'range_norm': False,
        'perceptual_weight': 1.0,
        'style_weight': 0,
        'criterion': 'l1',
    }


def pairs(**changes: Any) -> Options:
    return {
        'name': 'DIV2K',
        'type': 'PairedImageDataset',
        'dataroot_gt': 'datasets/DF2K/DIV2K_train_HR_sub',
        'dataroot_lq': 'datasets/DF2K/DIV2K_train_LR_bicubic_X4_sub',
        'meta_info_file': 'basicsr/data/meta_info/meta_info_DIV2K800sub_GT.txt',
        'filename_tmpl': '{}',
        'io_backend': {'type': 'disk'},
        'gt_size': 128,
        'use_hflip': True,
        'use_rot': True,
        'use_shuffle': True,
        'num_worker_per_gpu': 6,
        'batch_size_per_gpu': 16,
        'dataset_enlarge_ratio': 100,
        'prefetch_mode': None,
    } | changes


def set14(**changes: Any) -> Options:
    return {
        'name': 'Set14',
        'type': 'PairedImageDataset',
        'dataroot_gt': 'datasets/Set14/GTmod12',
        'dataroot_lq': 'datasets/Set14/LRbicx4',
        'io_backend': {'type': 'disk'},
    } | changes


def train(**changes: Any) -> Options:
    return {
        'ema_decay': 0.999,
        'optim_g': ADAM,
        'scheduler': {'type': 'MultiStepLR', 'milestones': [50000, 100000, 200000, 300000], 'gamma': 0.5},
        'total_iter': 400000,
        'warmup_iter': -1,
        'pixel_opt': PIXEL,
    } | changes


def adversarial(layers: dict[str, float], **changes: Any) -> Options:
    gan = {'optim_d': ADAM, 'perceptual_opt': perceptual(layers), 'gan_opt': GAN, 'net_d_iters': 1}
    return train() | gan | {'net_d_init_iters': 0} | changes


def file(model_type: str, network_g: Options, **blocks: Any) -> Options:
    return {
        'name': f'{model_type}_x4',
        'model_type': model_type,
        'scale': 4,
        'num_gpu': 'auto',
        'manual_seed': 0,
        'datasets': {'train': pairs(), 'val': set14()},
        'network_g': network_g,
        'path': {'pretrain_network_g': None, 'strict_load_g': True, 'resume_state': None},
        'val': {'val_freq': 5e3, 'save_img': False, 'pbar': False, 'metrics': PSNR},
        'logger': LOGGER,
        'dist_params': DIST,
    } | blocks


def test_file(network_g: Options, model_type: str = 'SRModel', **blocks: Any) -> Options:
    return {
        'name': f'{network_g["type"]}_x4_test',
        'model_type': model_type,
        'scale': 4,
        'num_gpu': 1,
        'manual_seed': 0,
        'datasets': {'test_1': set14(), 'test_2': set14(name='Set14 again')},
        'network_g': network_g,
        'path': {
            'pretrain_network_g': 'experiments/pretrained_models/net_g.pth',
            'param_key_g': 'params',
            'strict_load_g': True,
        },
        'val': {'save_img': True, 'suffix': None, 'metrics': PSNR},
    } | blocks


def without_gt(network_g: Options) -> Options:
    single = {'name': 'Set14', 'type': 'SingleImageDataset', 'dataroot_lq': 'datasets/Set14/LRbicx4'}
    single |= {'io_backend': {'type': 'disk'}}
    return test_file(network_g, datasets={'test_1': single}, val={'save_img': True, 'suffix': None})


# Real-ESRGAN

DEGRADATION = {
    'resize_prob': [0.2, 0.7, 0.1],
    'resize_range': [0.15, 1.5],
    'gaussian_noise_prob': 0.5,
    'noise_range': [1, 30],
    'poisson_scale_range': [0.05, 3],
    'gray_noise_prob': 0.4,
    'jpeg_range': [30, 95],
    'second_blur_prob': 0.8,
    'resize_prob2': [0.3, 0.4, 0.3],
    'resize_range2': [0.3, 1.2],
    'gaussian_noise_prob2': 0.5,
    'noise_range2': [1, 25],
    'poisson_scale_range2': [0.05, 2.5],
    'gray_noise_prob2': 0.4,
    'jpeg_range2': [30, 95],
    'gt_size': 256,
    'queue_size': 180,
}
USM = {'l1_gt_usm': True, 'percep_gt_usm': True, 'gan_gt_usm': False}
KINDS = ['iso', 'aniso', 'generalized_iso', 'generalized_aniso', 'plateau_iso', 'plateau_aniso']
KERNELS = {
    f'{key}{stage}': value
    for stage, sigma in (('', [0.2, 3]), ('2', [0.2, 1.5]))
    for key, value in {
        'blur_kernel_size': 21,
        'kernel_list': KINDS,
        'kernel_prob': [0.45, 0.25, 0.12, 0.03, 0.12, 0.03],
        'sinc_prob': 0.1,
        'blur_sigma': sigma,
        'betag_range': [0.5, 4],
        'betap_range': [1, 2],
    }.items()
}
REAL_DATA = {
    'name': 'DF2K+OST',
    'type': 'RealESRGANDataset',
    'dataroot_gt': 'datasets/DF2K',
    'meta_info': 'datasets/DF2K/meta_info/meta_info_DF2Kmultiscale+OST_sub.txt',
    'io_backend': {'type': 'disk'},
    **KERNELS,
    'final_sinc_prob': 0.8,
    'gt_size': 256,
    'use_hflip': True,
    'use_rot': False,
    'use_shuffle': True,
    'num_worker_per_gpu': 5,
    'batch_size_per_gpu': 12,
    'dataset_enlarge_ratio': 1,
    'prefetch_mode': None,
}
REAL_PAIRS = {
    'name': 'DIV2K',
    'type': 'RealESRGANPairedDataset',
    'dataroot_gt': 'datasets/DF2K',
    'dataroot_lq': 'datasets/DF2K',
    'meta_info': 'datasets/DF2K/meta_info/meta_info_DIV2K_sub_pair.txt',
    'io_backend': {'type': 'disk'},
    'gt_size': 256,
    'use_hflip': True,
    'use_rot': False,
    'use_shuffle': True,
    'num_worker_per_gpu': 5,
    'batch_size_per_gpu': 12,
    'dataset_enlarge_ratio': 1,
    'prefetch_mode': None,
}
REAL_PATH = {
    'pretrain_network_g': 'experiments/pretrained_models/RealESRNet_x4plus.pth',
    'param_key_g': 'params_ema',
    'strict_load_g': True,
    'resume_state': None,
}


def realesrgan(model_type: str = 'RealESRGANModel', network_g: Options = RRDB, **blocks: Any) -> Options:
    losses = {'pixel_opt': PIXEL | {'loss_weight': 1.0}, 'gan_opt': GAN | {'loss_weight': 0.1}}
    return {
        'name': f'train_{model_type}_x4plus',
        'model_type': model_type,
        'scale': 4,
        'num_gpu': 'auto',
        'manual_seed': 0,
        **USM,
        **DEGRADATION,
        'datasets': {'train': REAL_DATA},
        'network_g': network_g,
        'network_d': UNET,
        'path': REAL_PATH,
        'train': adversarial(LAYERS, scheduler={'type': 'MultiStepLR', 'milestones': [400000], 'gamma': 0.5}) | losses,
        'logger': LOGGER,
        'dist_params': DIST,
    } | blocks


def realesrnet(**blocks: Any) -> Options:
    options = realesrgan('RealESRNetModel', train=train(pixel_opt=PIXEL | {'loss_weight': 1.0}), gt_usm=True, **blocks)
    return {key: value for key, value in options.items() if key not in (*USM, 'network_d')}


def paired_finetuning() -> Options:
    options = realesrgan(datasets={'train': REAL_PAIRS}, high_order_degradation=False)
    return {key: value for key, value in options.items() if key not in DEGRADATION}


ARTIFACTS = {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'}
VGG256 = {'type': 'VGGStyleDiscriminator256', 'num_in_ch': 3, 'num_feat': 64}
PSNR_ORIENTED = train(
    optim_g=ADAM | {'lr': 2e-4},
    scheduler={
        'type': 'CosineAnnealingRestartLR',
        'periods': [250000] * 4,
        'restart_weights': [1] * 4,
        'eta_min': 1e-7,
    },
    total_iter=1000000,
)

FILES: dict[str, Options] = {
    'BasicSR/train_MSRResNet_x4': file('SRModel', MSR, train=PSNR_ORIENTED),
    'BasicSR/train_RRDBNet_PSNR_x4': file('SRModel', RRDB, train=PSNR_ORIENTED),
    'BasicSR/train_SwinIR_SRx4_scratch': file(
        'SwinIRModel',
        SWINIR,
        datasets={'train': pairs(gt_size=192, batch_size_per_gpu=4), 'val_1': set14(), 'val_2': set14(name='Set5')},
        train=train(
            scheduler={'type': 'MultiStepLR', 'milestones': [250000, 400000, 450000, 475000], 'gamma': 0.5},
        ),
    ),
    'BasicSR/train_MSRGAN_x4': file(
        'SRGANModel', MSR, network_d=VGG128, train=adversarial({'conv5_4': 1}, scheduler=None) | {'ema_decay': 0}
    ),
    'BasicSR/train_ESRGAN_x4': file('ESRGANModel', RRDB, network_d=VGG128, train=adversarial({'conv5_4': 1})),
    'BasicSR/train_ESRGAN_x4_ldl_opt': file(
        'ESRGANModel', RRDB, network_d=VGG128, train=adversarial({'conv5_4': 1}, ldl_opt=ARTIFACTS)
    ),
    'BasicSR/test_ESRGAN_x4': test_file(RRDB, 'ESRGANModel'),
    'BasicSR/test_ESRGAN_x4_woGT': without_gt(RRDB),
    'BasicSR/test_MSRResNet_x4': test_file(MSR),
    'BasicSR/test_SwinIR_x4': test_file(SWINIR, 'SwinIRModel'),
    'BasicSR/test_psnr_pt': test_file(
        MSR,
        val={
            'save_img': False,
            'suffix': '',
            'metrics': {
                'psnr': {'type': 'calculate_psnr_pt', 'crop_border': 4, 'test_y_channel': False},
                'ssim': {'type': 'calculate_ssim_pt', 'crop_border': 4, 'test_y_channel': True},
            },
        },
    ),
    'LDL/train_LDL_Synthetic_RRDB': file(
        'ESRGANArtifactsDisModel',
        RRDB,
        network_d=VGG128 | {'type': 'VGGStyleDiscriminator128'},
        train=adversarial(LAYERS, artifacts_opt=ARTIFACTS),
    ),
    'LDL/train_LDL_Synthetic_SwinIR': file(
        'ESRGANArtifactsDisModel',
        SWINIR,
        network_d=VGG256,
        datasets={'train': pairs(gt_size=256), 'val': set14()},
        train=adversarial(LAYERS, artifacts_opt=ARTIFACTS),
    ),
    'LDL/train_LDL_Synthetic_SRResNet': file(
        'SRGANArtifactsDisModel',
        MSR,
        network_d=VGG128 | {'type': 'VGGStyleDiscriminator128'},
        train=adversarial(LAYERS, artifacts_opt=ARTIFACTS),
    ),
    'LDL/train_LDL_Realworld_RRDB': realesrgan(
        'RealESRGANArtifactsDisModel', train=realesrgan()['train'] | {'artifacts_opt': ARTIFACTS}
    ),
    'LDL/test_LDL_Realworld_RRDB': test_file(
        RRDB,
        'ESRGANModel',
        datasets={
            'test_1': {
                'name': 'RealSRSet',
                'type': 'SingleImageFixSizeDataset',
                'dataroot_lq': 'datasets/RealSRSet',
                'io_backend': {'type': 'disk'},
            }
        },
        val={'save_img': True, 'suffix': '', 'metrics': NIQE},
    ),
    'Real-ESRGAN/train_realesrnet_x4plus': realesrnet(),
    'Real-ESRGAN/train_realesrnet_x2plus': realesrnet(scale=2, network_g=RRDB | {'scale': 2}),
    'Real-ESRGAN/train_realesrgan_x4plus': realesrgan(),
    'Real-ESRGAN/train_realesrgan_x2plus': realesrgan(scale=2, network_g=RRDB | {'scale': 2}),
    'Real-ESRGAN/finetune_realesrgan_x4plus': realesrgan(path=REAL_PATH | {'pretrain_network_d': 'net_d.pth'}),
    'Real-ESRGAN/finetune_realesrgan_x4plus_pairdata': paired_finetuning(),
    'Real-ESRGAN/train_realesrgan_compact': realesrgan(
        network_g={
            'type': 'SRVGGNetCompact_basicsr',
            'num_in_ch': 3,
            'num_out_ch': 3,
            'num_feat': 64,
            'num_conv': 32,
            'upscale': 4,
            'act_type': 'prelu',
        }
    ),
}
