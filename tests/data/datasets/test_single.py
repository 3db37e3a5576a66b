import pytest
import torch

from aesop.data import build_dataset
from aesop.errors import UserError
from aesop.utils.images import read_image, to_tensor


def test_whole_images_without_ground_truth(folders):
    dataset = build_dataset({'type': 'SingleImageDataset', 'dataroot_lq': str(folders / 'hr')}, scale=4, seed=1)
    assert len(list(dataset)) == len(dataset) == 5
    sample = dataset[4]
    assert sample.keys() == {'lq', 'name', 'index'} and sample['name'] == '4'
    assert torch.equal(sample['lq'], to_tensor(read_image(folders / 'hr/4.png')))  # not cut
    assert dataset.check() == []


def test_folder_mistakes(folders):
    with pytest.raises(UserError, match='folder not found'):
        build_dataset({'type': 'SingleImageDataset', 'dataroot_lq': str(folders / 'none')})
    with pytest.raises(UserError, match='has no argument "gt_size"'):
        build_dataset({'type': 'SingleImageDataset', 'dataroot_lq': str(folders / 'hr'), 'gt_size': 8})
