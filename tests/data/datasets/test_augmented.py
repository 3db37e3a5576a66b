from collections import Counter

import numpy as np
import pytest
import torch

from aesop.data import build_dataset
from aesop.data.augmentations import cutblur, cutmix, mixup, resizemix
from aesop.errors import UserError
from aesop.utils.imresize import imresize


def pair(value, h=8, w=10):
    return {'gt': torch.full((3, 4 * h, 4 * w), value), 'lq': torch.full((3, h, w), value), 'name': str(value)}


def test_mixup():
    done = mixup(pair(0.0), pair(1.0), np.random.default_rng(0))
    share = done['lq'][0, 0, 0].item()
    assert 0 < share < 1 and done['gt'].unique().tolist() == done['lq'].unique().tolist() == [share]
    assert done['name'] == '0.0'


def test_cutmix_takes_the_same_rectangle_of_both():
    for seed in range(20):
        sample = pair(0.0)
        done = cutmix(sample, pair(1.0), np.random.default_rng(seed))
        assert torch.equal(done['gt'], done['lq'].repeat_interleave(4, -1).repeat_interleave(4, -2))
        assert 0.35 < done['lq'].mean() < 0.55  # 0.7 of each side
        assert sample['gt'].max() == 0


def test_resizemix_puts_the_whole_of_the_other_into_a_rectangle_of_both():
    """On a ramp from 0 to 0.9 in an image of -1: what is pasted goes from end to end, wherever and however large."""
    ramp = {'gt': torch.linspace(0, 0.9, 40).expand(3, 32, 40), 'lq': torch.linspace(0, 0.9, 10).expand(3, 8, 10)}
    areas = []
    for seed in range(20):
        done = resizemix(pair(-1.0), ramp, np.random.default_rng(seed))
        where = {key: done[key][0] >= 0 for key in ('gt', 'lq')}
        assert torch.equal(where['gt'], where['lq'].repeat_interleave(4, -1).repeat_interleave(4, -2))
        areas.append(where['lq'].float().mean().item())
        row = done['gt'][0][where['gt'].any(1).nonzero()[0].item()]
        row = row[row >= 0]
        assert row.diff().min() >= 0 and row[0] < 0.15 and row[-1] > 0.75
    assert min(areas) < 0.1 and 0.3 < max(areas) <= 0.64


def test_cutblur_makes_a_rectangle_of_the_input_clean():
    sample = pair(0.25) | {'lq': torch.rand(3, 8, 10)}
    done = cutblur(sample, pair(1.0), np.random.default_rng(0))
    clean = (done['lq'] - 0.25).abs().amax(0) < 1e-6
    assert clean.sum() == 5 * 7 and torch.equal(done['lq'][:, ~clean], sample['lq'][:, ~clean])
    assert torch.equal(done['gt'], sample['gt'])
    only = {'gt': torch.rand(3, 8, 8)}
    assert cutblur(only, only, np.random.default_rng(0)) is only
    bicubic = {'gt': torch.rand(3, 32, 32)}
    bicubic['lq'] = imresize(bicubic['gt'], 1 / 4).clamp(0, 1)
    torch.testing.assert_close(cutblur(bicubic, bicubic, np.random.default_rng(0))['lq'], bicubic['lq'])


def augmented(folders, **chances):
    inner = {'type': 'BicubicImageDataset', 'dataroot_gt': str(folders / 'hr'), 'gt_size': 24}
    return build_dataset({'type': 'AugmentedDataset', 'dataset': inner, 'augmentations': chances}, scale=4, seed=2)


def test_a_data_set_with_chances(folders):
    dataset, plain = augmented(folders, mixup=0.25, cutmix=0.25), augmented(folders)
    kinds = Counter()
    for n in range(120):
        same = (dataset[n]['gt'] == plain[n]['gt']).float().mean().item()
        kinds['none' if same == 1 else 'cutmix' if same > 0.3 else 'mixup'] += 1
    assert 45 < kinds['none'] < 75 and 15 < kinds['mixup'] < 45 and 15 < kinds['cutmix'] < 45
    assert torch.equal(dataset[7]['gt'], augmented(folders, mixup=0.25, cutmix=0.25)[7]['gt'])
    assert len(dataset) == 5 and dataset.check() == []


def test_mistakes_are_told(folders):
    with pytest.raises(UserError, match='unknown value "mixupp". Did you mean "mixup"'):
        augmented(folders, mixupp=0.1)
    with pytest.raises(UserError, match='add up to 1.2; the limit is 1'):
        augmented(folders, mixup=0.6, cutmix=0.6)
    with pytest.raises(UserError, match='is not a probability'):
        augmented(folders, mixup=-1)
