import pytest
import torch

from aesop.data import build_dataset
from aesop.errors import UserError


def degraded(folders, steps=(), **more):
    block = {
        'type': 'DegradedDataset',
        'dataset': {'type': 'BicubicImageDataset', 'dataroot_gt': str(folders / 'hr')},
        'steps': list(steps),
        'gt_size': 16,
        'margin': 1,
        **more,
    }
    return build_dataset(block, scale=4, seed=1)


def test_pairs_lie_on_each_other(folders):
    """Without steps the low-resolution image is the ground truth made small."""
    dataset = degraded(folders, modes=['area'])
    for n in range(6):
        sample = dataset[n]
        assert sample['gt'].shape == (3, 16, 16) and sample['lq'].shape == (3, 4, 4)
        small = torch.nn.functional.avg_pool2d(sample['gt'], 4)
        torch.testing.assert_close(sample['lq'], small, atol=1 / 255, rtol=0)
        assert torch.equal((sample['lq'] * 255).round() / 255, sample['lq'])


def test_a_function_of_n_that_degrades(folders):
    steps = [{'type': 'blur'}, {'type': 'noise', 'prob': 0.8}, {'type': 'jpeg', 'quality': [20, 40]}]
    dataset, clean = degraded(folders, steps), degraded(folders)
    assert torch.equal(dataset[3]['lq'], degraded(folders, steps)[3]['lq'])
    assert torch.equal(dataset[3]['gt'], clean[3]['gt']) and not torch.equal(dataset[3]['lq'], clean[3]['lq'])
    assert len(dataset) == 5 and dataset.check() == []


def test_it_is_mixed_with_given_pairs(folders):
    made = degraded(folders, [{'type': 'jpeg'}])
    pairs = {'type': 'PairedImageDataset', 'dataroot_gt': str(folders / 'hr'), 'dataroot_lq': str(folders / 'lr')}
    block = {'type': 'DegradedDataset', 'dataset': made.dataset, 'steps': made.steps, 'margin': 1}
    mixed = build_dataset({'type': 'MixedDataset', 'parts': [pairs, block], 'common': {'gt_size': 16}}, scale=4, seed=1)
    assert mixed.check() == [] and mixed[0]['lq'].shape == (3, 4, 4)


def test_mistakes_are_told(folders):
    with pytest.raises(UserError, match='gt_size 18 is not a multiple of scale 4'):
        degraded(folders, gt_size=18)
    with pytest.raises(UserError, match='dataset: unknown dataset "Bicubic"'):
        degraded(folders, dataset={'type': 'Bicubic'})
