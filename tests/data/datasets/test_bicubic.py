import numpy as np
import pytest
import torch

from aesop.data import build_dataset
from aesop.utils.images import read_image, save_image, to_tensor
from aesop.utils.imresize import imresize


def bicubic(folders, scale=4, **more):
    return build_dataset({'type': 'BicubicImageDataset', 'dataroot_gt': str(folders / 'hr'), **more}, scale=scale)


def test_whole_images_equal_those_from_files(folders):
    paired = build_dataset(
        {'type': 'PairedImageDataset', 'dataroot_gt': str(folders / 'hr'), 'dataroot_lq': str(folders / 'lr')}
    )
    for made, read in zip(bicubic(folders), paired, strict=True):
        assert torch.equal(made['lq'], read['lq']) and torch.equal(made['gt'], read['gt'])


@pytest.mark.parametrize('gt_size', [4, 24, 40])
def test_crops_equal_those_from_files(folders, gt_size):
    """Same seed, same positions: a crop of the made LR is a crop of the whole LR, borders included."""
    paired = build_dataset(
        {
            'type': 'PairedImageDataset',
            'dataroot_gt': str(folders / 'hr'),
            'dataroot_lq': str(folders / 'lr'),
            'gt_size': gt_size,
        }
    )
    made = bicubic(folders, gt_size=gt_size)
    for n in range(100):
        assert torch.equal(made[n]['lq'], paired[n]['lq']) and torch.equal(made[n]['gt'], paired[n]['gt'])


@pytest.mark.parametrize('scale', [2, 3, 8])
def test_crops_lie_in_the_whole_at_other_scales(folders, scale):
    crops = bicubic(folders, scale, gt_size=2 * scale, use_flip=False, use_rot=False)
    whole = [
        imresize(read_image(path)[: h // scale * scale, : w // scale * scale], 1 / scale)
        for path in sorted((folders / 'hr').iterdir())
        for h, w in [read_image(path).shape[:2]]
    ]
    for n in range(60):
        sample = crops[n]
        windows = np.lib.stride_tricks.sliding_window_view(whole[sample['index']], (2, 2), axis=(0, 1))
        crop = sample['lq'].mul(255).round().numpy()
        assert (windows == crop).all(axis=(-3, -2, -1)).any()


def test_augmented_lq_is_the_resized_augmented_gt(folders):
    """The eight symmetries commute with the kernel; away from the crop's border both orders agree but for rounding."""
    dataset = bicubic(folders, gt_size=40)
    for n in range(30):
        sample = dataset[n]
        direct = imresize(sample['gt'], 0.25)
        assert (direct - sample['lq'])[:, 2:-2, 2:-2].abs().max() <= 1.2 / 255


def test_16_bit_ground_truths_make_16_bit_lq(tmp_path):
    deep = np.random.default_rng(0).integers(0, 65536, (16, 16, 3), dtype=np.uint16)
    save_image(tmp_path / 'hr/a.png', deep)
    assert torch.equal(bicubic(tmp_path)[0]['lq'], to_tensor(imresize(deep, 0.25)))


def test_too_small_for_the_scale(tmp_path):
    save_image(tmp_path / 'hr/a.png', np.zeros((3, 9, 3), np.uint8))
    (problem,) = bicubic(tmp_path).check()
    assert 'a.png: 3x9 pixels (height x width) is smaller than the scale of 4; remove it or lower scale' in problem
