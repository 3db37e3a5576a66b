import pytest

# An option file in the style of the published code: `!!float`, `~`, comments, keys that mean nothing here.
OLD_STYLE = """\
# general settings
name: 001:AESOP_x4_old
model_type: AesopESRGANArtifactsDisModel
scale: 4
num_gpu: 4  # set num_gpu: 0 for cpu mode
manual_seed: 0
find_unused_parameters: true

datasets:
  train:
    name: DF2K
    type: PairedImageDataset
    dataroot_gt: ~/data/DF2K_sub
    dataroot_lq: ~/data/DF2K_sub_x4
    meta_info: ~
    filename_tmpl: '{}'
    io_backend:
      type: disk

    gt_size: 128
    use_flip: true
    use_rot: true
    # data loader
    use_shuffle: true
    num_worker_per_gpu: 16
    batch_size_per_gpu: 16
    dataset_enlarge_ratio: 1
    prefetch_mode: ~
  val_1:
    name: Set14
    type: PairedImageDataset
    dataroot_gt: data/Set14/GTmod12
    dataroot_lq: data/Set14/LRbicx4
    io_backend:
      type: disk

network_g:
  type: RRDBNet
  num_in_ch: 3
  num_out_ch: 3
  num_feat: 64
  num_block: 1
  num_grow_ch: 32
network_d:
  type: VGGStyleDiscriminator128
  num_in_ch: 3
  num_feat: 64

path:
  pretrain_network_g: weights/psnr.pth
  param_key_g: params
  strict_load_g: true
  resume_state: ~

train:
  ema_decay: 0.999
  optim_g:
    type: Adam
    lr: !!float 1e-4
    weight_decay: 0
    betas: [0.9, 0.99]
  optim_d:
    type: Adam
    lr: 1e-4
    weight_decay: 0
    betas: [0.9, 0.99]
  scheduler:
    type: MultiStepLR
    milestones: [!!float 5e4, 300000]
    gamma: 0.5
  total_iter: 300000
  warmup_iter: -1  # no warm up

  aesop_opt:
    type: AutoEncoderLoss
    loss_weight: 1
    criterion: l1
    reduction: mean
    as_loss_map: false
    autoencoder_arch:
      type: AutoEncoder_RRDBNet
      enc_opt: {placeholder: 0}
      dec_opt:
        type: RRDBNet
        num_in_ch: 3
        num_out_ch: 3
        num_feat: 64
        num_block: 1
        num_grow_ch: 32
    autoencoder_load:
      path: weights/ae.pth
      key: params_ema
  artifacts_opt:
    type: L1Loss
    loss_weight: !!float 1
    reduction: mean
  perceptual_opt:
    type: PerceptualLoss
    layer_weights:
      'conv1_2': 0.1
      'conv5_4': 1
    vgg_type: vgg19
    use_input_norm: true
    range_norm: false
    perceptual_weight: 1.0
    style_weight: 0
    criterion: l1
  gan_opt:
    type: GANLoss
    gan_type: vanilla
    real_label_val: 1.0
    fake_label_val: 0.0
    loss_weight: !!float 5e-3
  net_d_iters: 1
  net_d_init_iters: 0

val:
  val_freq: !!float 5e3
  save_img: false
  pbar: true
  metrics:
    psnr:
      type: calculate_psnr
      crop_border: 4
      test_y_channel: true
      better: higher

logger:
  print_freq: 100
  save_checkpoint_freq: !!float 5e3
  use_tb_logger: true
  wandb:
    project: ~
    resume_id: ~

dist_params:
  backend: nccl
  port: 29500
"""


@pytest.fixture
def old_style():
    return OLD_STYLE


@pytest.fixture
def write(tmp_path):
    """Writes an option file and gives its path."""

    def write_(text, name='run.yml'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_
