import cv2
import numpy as np
import pytest
import torch

from aesop.data import build_dataset, train_loader
from aesop.errors import UserError
from aesop.utils.images import read_image, save_image


def dataset(folders, seed=5, **more):
    block = {'type': 'RealESRGANDataset', 'dataroot_gt': str(folders / 'hr'), 'gt_size': 16, 'crop_size': 36}
    return build_dataset({**block, **more}, scale=4, seed=seed)


def same(one, other):
    return all(torch.equal(torch.as_tensor(one[key]), torch.as_tensor(other[key])) for key in one if key != 'name')


def test_samples_hold_what_the_degradation_takes(folders):
    sample = dataset(folders, blur_kernel_size2=13)[7]
    assert {key: tuple(value.shape) for key, value in sample.items() if isinstance(value, torch.Tensor)} == {
        'gt': (3, 36, 36),
        'kernel1': (21, 21),
        'kernel2': (13, 13),
        'sinc_kernel': (21, 21),
    }
    for key in ('kernel1', 'kernel2', 'sinc_kernel'):
        assert sample[key].dtype == torch.float32 and sample[key].sum().item() == pytest.approx(1, abs=1e-6)
    assert 0 <= sample['seed'] < 2**63 and sample['name'] == str(sample['index'])


def test_a_sample_depends_on_its_position_alone(folders):
    straight = dataset(folders)
    forward = [straight[n] for n in range(30)]
    fresh = dataset(folders)
    for n in np.random.default_rng(0).permutation(30):
        assert same(fresh[n], forward[n])
    other = dataset(folders, seed=6)
    assert not any(torch.equal(a['kernel1'], other[n]['kernel1']) for n, a in enumerate(forward))
    assert len({sample['seed'] for sample in forward}) == 30


def test_gts_are_crops_of_the_images(folders):
    samples = dataset(folders, use_flip=False, use_rot=False)
    places = set()
    for n in range(30):
        sample = samples[n]
        whole = read_image(folders / f'hr/{sample["name"]}.png')
        windows = np.lib.stride_tricks.sliding_window_view(whole, (36, 36), axis=(0, 1))
        found = np.argwhere((windows == sample['gt'].mul(255).round().numpy()).all(axis=(-3, -2, -1)))
        assert len(found) == 1
        places.add((sample['name'], *found[0]))
    assert len(places) > 25


def test_small_images_are_mirrored(folders):
    sample = dataset(folders, crop_size=100, use_flip=False, use_rot=False)[3]
    image = read_image(folders / f'hr/{sample["name"]}.png')
    height, width = image.shape[:2]
    expected = cv2.copyMakeBorder(image, 0, 100 - height, 0, 100 - width, cv2.BORDER_REFLECT_101)
    assert np.array_equal(sample['gt'].mul(255).round().byte().permute(1, 2, 0).numpy(), expected)
    save_image(folders / 'hr/0.png', image[:3, :1])
    assert dataset(folders, crop_size=100).check() == []
    assert all(dataset(folders, crop_size=100)[n]['gt'].shape == (3, 100, 100) for n in range(5))


def test_stages_draw_from_their_own_keys(folders):
    narrow = {
        'kernel_list': ['iso'],
        'kernel_prob': [1],
        'sinc_prob': 0,
        'blur_sigma': [0.2, 0.2],
        'final_sinc_prob': 0,
    }
    samples = dataset(folders, **narrow)
    for n in range(20):
        sample = samples[n]
        assert sample['kernel1'][10, 10] > 0.99 and sample['sinc_kernel'][10, 10] == 1
    assert sum(samples[n]['kernel2'][10, 10] < 0.9 for n in range(20)) > 10
    wide = dataset(folders, sinc_prob2=1, final_sinc_prob=1)
    assert all(wide[n]['kernel2'].min() < 0 and wide[n]['sinc_kernel'].min() < 0 for n in range(10))


def test_batches_do_not_depend_on_workers(folders):
    def batches(workers):
        return list(train_loader(dataset(folders), 3, workers, total_iter=2))

    for alone, shared in zip(batches(0), batches(1), strict=True):
        assert alone['seed'].dtype == torch.int64 and alone['kernel1'].shape == (3, 21, 21)
        assert same(alone, shared)


def test_keys_that_do_not_fit_are_all_told(folders):
    with pytest.raises(UserError) as caught:
        dataset(
            folders,
            gt_size=40,
            crop_size=38,
            kernel_list=['iso', 'plato_iso'],
            kernel_prob2=[0.5, 0.5],
            blur_kernel_size=20,
            betag_range2=[4, 0.5],
            color='y',
        )
    told = '\n'.join(caught.value.problems)
    for part in (
        'gt_size 40 is larger than crop_size 38',
        'crop_size 38 is not a multiple of scale 4',
        'kernel_list: unknown kernel "plato_iso". Did you mean "plateau_iso"?',
        'kernel_prob must have one probability for each kind in kernel_list',
        'kernel_prob2 must have one probability for each kind in kernel_list2',
        'blur_kernel_size is 20; set it to an odd number of at least 7',
        'betag_range2 is [4, 0.5]; set it to [low, high], both above 0',
        'remove mean, std and color',
    ):
        assert part in told
    with pytest.raises(UserError, match='gt_size is missing'):
        dataset(folders, gt_size=None)
