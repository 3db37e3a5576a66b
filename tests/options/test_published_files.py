"""Option files as written for BasicSR, Real-ESRGAN and AESOP run here: only paths (and, here, sizes) change."""

import logging
from pathlib import Path

import pytest
import torch

from aesop.cli.runs import main
from aesop.options import load_options
from aesop.registry import ARCHS, DATASETS, LOSSES, METRICS, MODELS
from tests.tiny import backbones, make_images, overrides  # noqa: F401  (a fixture)

FILES = sorted((Path(__file__).parents[1] / 'data/published').glob('*.yml'))

NAMES = {
    MODELS: """SRModel SRGANModel ESRGANModel ESRGANArtifactsDisModel AesopESRGANArtifactsDisModel RealESRGANModel
        AesopRealESRGANArtifactsDisModel RealESRNetModel AEModel""",
    ARCHS: """RRDBNet RRDBNet_LEGACY RRDB_BSRGANNet MSRResNet SwinIR DRCT SPSRNet AutoEncoder_RRDBNet
        BicubicDown_RRDBNet AutoEncoder_MSRResNet VGGStyleDiscriminator128 VGGStyleDiscriminator192
        VGGStyleDiscriminator256 VGGStyleDiscriminator UNetDiscriminatorSN Discriminator_PatchGAN""",
    LOSSES: """L1Loss MSELoss CharbonnierLoss WeightedTVLoss PerceptualLoss GANLoss MultiScaleGANLoss GANFeatLoss
        AutoEncoderLoss LRL1Loss""",
    METRICS: """calculate_psnr calculate_ssim calculate_lpips calculate_psnr_pytorch calculate_ssim_pytorch
        calculate_lpips_pytorch calculate_aepsnr_pytorch calculate_niqe calculate_dists calculate_dists_pytorch
        calculate_niqe_pytorch calculate_musiq_pytorch calculate_maniqa_pytorch calculate_clipiqa_resnet_pytorch""",
    DATASETS: 'PairedImageDataset SingleImageDataset RealESRGANDataset',
}


@pytest.mark.parametrize(
    ('registry', 'name'), [(registry, name) for registry, names in NAMES.items() for name in names.split()]
)
def test_a_published_name_resolves(registry, name):
    assert callable(registry.get(name))


@pytest.mark.usefixtures('backbones')
@pytest.mark.parametrize('file', FILES, ids=lambda file: file.stem)
def test_a_published_file_runs(file, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.INFO):
        options = load_options(file)
    make_images(options)
    mode = 'train' if options.train else 'test'
    assert main(mode, ['-opt', str(file), '--set', *overrides(options)]) == 0

    said = {record.message for record in caplog.records if 'mean nothing here' in record.message}
    if mode == 'train':
        weights = torch.load(Path('experiments') / options.name / 'models/net_g_2.pth', weights_only=True)
        assert all(t.isfinite().all() for t in weights['params'].values())
        (line,) = said
        assert 'dist_params' in line and 'datasets.train.prefetch_mode' in line
    else:
        images = list(Path('results', options.name, 'visualization').rglob('*.png'))
        assert len(images) == 2 * len(options.datasets)
        assert said == set()


def test_numbers_mean_what_they_say():
    options = load_options(next(file for file in FILES if file.stem == 'aesop'))
    assert options.train.optim_g['lr'] == options.train.optim_d['lr'] == 1e-4
    assert options.train.scheduler['milestones'] == [400_000]
    assert options.train.gan_opt['loss_weight'] == 0.005
    assert (options.val.val_freq, options.logger.save_checkpoint_freq) == (5000, 5000)
    assert options.path.ignore_resume_networks == []
