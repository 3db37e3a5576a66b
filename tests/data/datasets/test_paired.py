import numpy as np
import pytest
import torch

from aesop.data import build_dataset
from aesop.errors import UserError
from aesop.utils.images import read_image, save_image, to_tensor


def paired(folders, **more):
    block = {'type': 'PairedImageDataset', 'dataroot_gt': str(folders / 'hr'), 'dataroot_lq': str(folders / 'lr')}
    return build_dataset({**block, **more}, scale=4)


def test_validation_gives_whole_images_in_order(folders):
    dataset = paired(folders)
    samples = list(dataset)
    assert [sample['name'] for sample in samples] == ['0', '1', '2', '3', '4']
    assert [sample['index'] for sample in samples] == [0, 1, 2, 3, 4]
    assert torch.equal(samples[2]['gt'], to_tensor(read_image(folders / 'hr/2.png')))
    assert torch.equal(samples[2]['lq'], to_tensor(read_image(folders / 'lr/2.png')))
    assert torch.equal(dataset[4]['gt'], to_tensor(read_image(folders / 'hr/4.png')[:40, :56]))
    assert dataset[4]['lq'].shape == (3, 10, 14)


def test_lq_of_the_rounded_up_size_is_cut(folders):
    lq = np.random.default_rng(0).integers(0, 256, (11, 15, 3), dtype=np.uint8)  # ceil(41 / 4), ceil(59 / 4)
    save_image(folders / 'lr/4.png', lq)
    assert torch.equal(paired(folders)[4]['lq'], to_tensor(lq[:10, :14]))
    assert paired(folders).check() == []


def test_crops_are_aligned(folders):
    """Ground truths that are their LR enlarged by repetition: then every crop must be, whatever was done to both."""
    for number in range(5):
        lq = read_image(folders / f'lr/{number}.png')
        save_image(folders / f'hr/{number}.png', lq.repeat(4, 0).repeat(4, 1))
    dataset = paired(folders, gt_size=24)
    for n in range(40):
        gt, lq = dataset[n]['gt'], dataset[n]['lq']
        assert gt.shape == (3, 24, 24) and lq.shape == (3, 6, 6)
        assert torch.equal(gt, lq.repeat_interleave(4, -1).repeat_interleave(4, -2))


def test_names_follow_the_template(folders):
    for path in (folders / 'lr').iterdir():
        path.rename(path.with_name(f'{path.stem}x4.png'))
    assert torch.equal(paired(folders, filename_tmpl='{}x4')[1]['lq'], to_tensor(read_image(folders / 'lr/1x4.png')))
    with pytest.raises(UserError, match=r"now '\{\}'; e.g. '\{\}x4' for 1x4.png"):
        paired(folders)
    with pytest.raises(UserError, match='is not a name with one'):
        paired(folders, filename_tmpl='{name}x4')


def test_pairs_are_found_across_suffixes_and_sub_folders(folders):
    save_image(folders / 'hr/city/x.bmp', np.full((40, 40, 3), 9, np.uint8))
    save_image(folders / 'lr/city/x.png', np.full((10, 10, 3), 9, np.uint8))
    assert paired(folders)[5]['name'] == 'city/x'


def test_meta_info(folders):
    (folders / 'meta.txt').write_text('3.png (52,44,3)\n1.png\n\n')
    for key in ('meta_info', 'meta_info_file'):
        dataset = paired(folders, **{key: str(folders / 'meta.txt')})
        assert [sample['name'] for sample in dataset] == ['3', '1']
        assert torch.equal(dataset[0]['lq'], to_tensor(read_image(folders / 'lr/3.png')))


def test_meta_info_mistakes(folders):
    with pytest.raises(UserError, match='meta.txt: file not found'):
        paired(folders, meta_info=str(folders / 'meta.txt'))
    (folders / 'meta.txt').write_text('\n')
    with pytest.raises(UserError, match='lists no images'):
        paired(folders, meta_info=str(folders / 'meta.txt'))
    (folders / 'meta.txt').write_text('0.png\n/elsewhere/1.png')
    with pytest.raises(UserError, match='/elsewhere/1.png is not in .*hr; write paths relative'):
        paired(folders, meta_info=str(folders / 'meta.txt'))
    (folders / 'meta.txt').write_text('0.png\n1.png')
    (folders / 'hr/1.png').unlink()
    (problem,) = paired(folders, meta_info=str(folders / 'meta.txt')).check()
    assert '1.png: file not found' in problem


def test_all_images_without_partner_are_named(folders):
    (folders / 'lr/1.png').unlink()
    (folders / 'hr/3.png').unlink()
    with pytest.raises(UserError) as error:
        paired(folders)
    remedy, first, second = error.value.problems
    assert first == f'{folders}/hr/1.png: {folders}/lr has no 1 for it'
    assert second == f'{folders}/lr/3.png: {folders}/hr has no image for it'
    assert 'set filename_tmpl' in remedy


def test_without_lq_the_remedy_is_named(folders):
    with pytest.raises(UserError, match='needs dataroot_lq; .*BicubicImageDataset'):
        build_dataset({'type': 'PairedImageDataset', 'dataroot_gt': str(folders / 'hr')})


def test_sizes_that_do_not_match(folders):
    save_image(folders / 'lr/2.png', np.zeros((16, 11, 3), np.uint8))
    save_image(folders / 'lr/3.png', np.zeros((12, 11, 3), np.uint8))
    dataset = paired(folders)
    expected = [
        f'{folders}/lr/{n}.png: {lq} pixels (height x width) is not 1/4 of the {gt} of {folders}/hr/{n}.png; '
        'recreate it, or correct scale or the folders'
        for n, lq, gt in ((2, '16x11', '64x40'), (3, '12x11', '52x44'))
    ]
    assert dataset.check() == expected
    with pytest.raises(UserError) as error:
        dataset[2]
    assert error.value.problems == expected[:1]


def test_images_smaller_than_the_crop(folders):
    problem, other, _ = paired(folders, gt_size=44).check()
    assert problem == f'{folders}/hr/0.png: 40x56 pixels (height x width) is smaller than the gt_size of 44; ' + (
        'remove it or lower gt_size'
    )
    assert '2.png: 64x40' in other
    with pytest.raises(UserError, match='0.png: 40x56 .* lower gt_size'):
        for n in range(5):
            paired(folders, gt_size=44, use_shuffle=False)[n]
