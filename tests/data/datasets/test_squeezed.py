import numpy as np
import pytest
import torch
from PIL import Image

from aesop.data import build_dataset
from aesop.errors import UserError
from aesop.utils.images import to_tensor


def squeezed(folders, **more):
    roots = {'dataroot_gt': str(folders / 'hr'), 'dataroot_lq': str(folders / 'lr')}
    return build_dataset({'type': 'SqueezedPairedImageDataset', 'squeeze': 32, **roots, **more}, scale=4)


def test_each_image_is_squeezed_on_its_own(folders):
    for number, sample in enumerate(squeezed(folders)):
        for key, folder, side in (('gt', 'hr', 32), ('lq', 'lr', 8)):
            image = Image.open(folders / f'{folder}/{number}.png').resize((side, side), Image.Resampling.BICUBIC)
            assert torch.equal(sample[key], to_tensor(np.asarray(image)))


def test_crops_are_cut_from_the_squares(folders):
    data = squeezed(folders, gt_size=24, use_flip=False, use_rot=False)
    whole = {sample['name']: sample for sample in squeezed(folders)}
    places = set()
    for n in range(60):
        sample = data[n]
        gt, lq = whole[sample['name']]['gt'], whole[sample['name']]['lq']
        found = [
            (y, x) for y in range(3) for x in range(3) if torch.equal(sample['lq'], lq[:, y : y + 6, x : x + 6])
        ]  # fmt: skip
        assert len(found) == 1
        y, x = found[0]
        assert torch.equal(sample['gt'], gt[:, 4 * y : 4 * y + 24, 4 * x : 4 * x + 24])
        places.add((y, x))
    assert len(places) == 9


def test_a_quarter_of_the_crops_is_transposed(folders):
    upright = next(iter(squeezed(folders)))['lq']
    data = squeezed(folders, gt_size=32)  # the whole square
    flips = [upright, upright.flip(1), upright.flip(2), upright.flip(1, 2)]
    crops = [crop['lq'] for crop in map(data.__getitem__, range(2000)) if crop['name'] == '0']
    straight = [any(torch.equal(crop, flip) for flip in flips) for crop in crops]
    turned = [any(torch.equal(crop, flip.transpose(1, 2)) for flip in flips) for crop in crops]
    assert len(crops) == 400 == sum(straight) + sum(turned)
    assert 70 < sum(turned) < 130


@pytest.mark.parametrize('squeeze', [30, 16])
def test_a_side_that_does_not_fit(folders, squeeze):
    with pytest.raises(UserError, match=f'squeeze is {squeeze}; set it to a multiple of scale 4 that is not below'):
        squeezed(folders, squeeze=squeeze, gt_size=24)
