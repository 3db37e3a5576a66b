import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage import data

from aesop.data import build_dataset, train_loader
from aesop.data.degradation import real as degradation
from aesop.data.degradation.real import Draw, RealDegradation, build_degradation
from aesop.errors import UserError
from aesop.options import load_options
from aesop.utils import checkpoint
from aesop.utils.images import save_image
from aesop.utils.imresize import imresize

SMALL = {'gt_size': 32, 'queue_size': 8}


@pytest.fixture
def batches(tmp_path):
    """Batches of 64x64 crops of photographs, by iteration."""
    for name in ('astronaut', 'chelsea'):
        save_image(tmp_path / f'{name}.png', getattr(data, name)()[::2, ::2])
    block = {'type': 'RealESRGANDataset', 'dataroot_gt': str(tmp_path), 'gt_size': 32, 'crop_size': 64}
    dataset = build_dataset(block, scale=4, seed=1)
    return lambda count, size=4: list(train_loader(dataset, size, total_iter=count))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_gives_training_pairs(batches):
    out = RealDegradation(**SMALL)(batches(1)[0])
    assert {key: tuple(value.shape) for key, value in out.items()} == {
        'lq': (4, 3, 8, 8),
        'gt': (4, 3, 32, 32),
        'gt_usm': (4, 3, 32, 32),
    }
    for images in out.values():
        assert images.dtype == torch.float32 and images.min() >= 0 and images.max() <= 1
    assert torch.equal((out['lq'] * 255).round() / 255, out['lq'])


def test_the_same_seeds_give_the_same_batch(batches):
    (batch,) = batches(1)
    torch.manual_seed(0)
    first = RealDegradation(**SMALL)(batch)
    torch.manual_seed(1)
    np.random.seed(1)
    assert same(first, RealDegradation(**SMALL)(batch))
    other = RealDegradation(**SMALL)({**batch, 'seed': batch['seed'] + 1})
    assert not torch.equal(first['lq'], other['lq'])


def test_goes_on_from_its_state_through_a_file(batches, tmp_path):
    stream = batches(10)
    whole = RealDegradation(**SMALL)
    results = [whole(batch) for batch in stream[:5]]
    checkpoint.save(whole.state_dict(), tmp_path / 'pool.state')
    results = [whole(batch) for batch in stream[5:]]
    resumed = RealDegradation(**SMALL)
    resumed.load_state_dict(checkpoint.load(tmp_path / 'pool.state'))
    assert all(same(resumed(batch), expected) for batch, expected in zip(stream[5:], results))
    without = RealDegradation(**SMALL)
    assert not same(without(stream[5]), results[0])
    with pytest.raises(UserError, match='not of gt_size 16: it is from another run'):
        RealDegradation(gt_size=16).load_state_dict(whole.state_dict())


def test_pairs_lie_on_each_other_and_sharpening_comes_last(batches):
    mild = {'second_blur_prob': 0, 'jpeg_range': (100, 100), 'jpeg_range2': (100, 100), 'gt_usm': False}
    for number in ('', '2'):
        mild |= {f'resize_prob{number}': (0, 0, 1), f'gaussian_noise_prob{number}': 1, f'noise_range{number}': (0, 0)}
    degrade = RealDegradation(gt_size=32, queue_size=4, **mild)
    identity = torch.zeros(4, 21, 21)
    identity[:, 10, 10] = 1
    for batch in batches(8):
        out = degrade({**batch, 'kernel1': identity, 'sinc_kernel': identity})
        small = imresize(out['gt'], 0.25)
        errors = [(out['lq'] - small.roll((dy, dx), (2, 3))).abs().mean() for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        assert errors[4] == min(errors)
        assert torch.equal(out['gt_usm'], degradation.usm_sharpen(out['gt']))


def slow(image, kernels, steps):
    """One HWC image in [0, 1] through OpenCV, without noise, and with no resizing but the last."""
    for step in steps:
        if step == 'sharpened':
            detail = image - cv2.GaussianBlur(image, (51, 51), 0)
            mask = cv2.GaussianBlur((np.abs(detail) * 255 > 10).astype(np.float64), (51, 51), 0)
            image = mask * np.clip(image + 0.5 * detail, 0, 1) + (1 - mask) * image
        elif step == 'JPEG':
            pixels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)[..., ::-1]
            _, coded = cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, 100])
            image = cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1] / 255
        elif step.endswith('noise'):
            image = np.clip(image, 0, 1)
        elif step.endswith('blur') or step.endswith('sinc'):
            if step.startswith('resize'):
                mode = {'area': cv2.INTER_AREA, 'bilinear': cv2.INTER_LINEAR, 'bicubic': cv2.INTER_CUBIC}
                image = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=mode[step.split(', ')[1]])
            kernel = kernels[('blur', 'second blur').index(step) if step.endswith('blur') else 2]
            image = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    return np.round(np.clip(image, 0, 1) * 255)


def test_the_whole_equals_opencvs_steps(batches, monkeypatch):
    """Without noise, and at JPEG quality 100: below, rounding the other way moves a pixel by many steps."""
    still = {'jpeg_range': (100, 100), 'jpeg_range2': (100, 100), 'resize_range2': (0.3, 4), 'second_blur_prob': 0.5}
    for number in ('', '2'):
        still |= {f'gaussian_noise_prob{number}': 1, f'noise_range{number}': (0, 0)}
    degrade = RealDegradation(**still)
    # the second stage starts from the low-resolution size: 4 times that leaves the image as large as it is
    monkeypatch.setattr(Draw, 'factor', lambda self, probabilities, limits: 4 if limits[1] == 4 else 1)
    seen, errors = set(), []
    for batch in batches(12, 2):
        names = ('kernel1', 'kernel2', 'sinc_kernel')
        draw = Draw(batch['seed'].tolist(), 'cpu')
        steps = list(degrade.stages(batch['gt'], *(batch[name] for name in names), draw))
        labels = [label for label, _ in steps]
        seen |= {labels[-2][:4], 'second blur' in labels}
        for n, lq in enumerate(steps[-1][1]):
            kernels = [batch[name][n].double().numpy() for name in names]
            expected = slow(batch['gt'][n].double().permute(1, 2, 0).numpy(), kernels, labels)
            errors.append(np.abs(lq.permute(1, 2, 0).numpy() * 255 - expected).mean())
    assert seen == {'JPEG', 'resi', True, False}
    assert np.mean(errors) < 0.5 and max(errors) < 1  # of 255


@pytest.mark.parametrize('mode, flag', [('bilinear', cv2.INTER_LINEAR), ('bicubic', cv2.INTER_CUBIC)])
@pytest.mark.parametrize('size', [(31, 20), (90, 77)])
def test_resizing_is_opencvs(mode, flag, size):
    image = np.random.default_rng(0).random((64, 48, 3), dtype=np.float32)
    out = F.interpolate(torch.from_numpy(image.transpose(2, 0, 1)[None]), size, mode=mode)
    expected = cv2.resize(image, size[::-1], interpolation=flag)
    np.testing.assert_allclose(out[0].permute(1, 2, 0).numpy(), expected, atol=2e-5)


def test_area_averages_what_lies_under_a_pixel():
    image = np.random.default_rng(0).random((20, 13))
    out = F.interpolate(torch.from_numpy(image)[None, None], (7, 6), mode='area')[0, 0].numpy()
    for row in range(7):
        for column in range(6):
            rows = slice(row * 20 // 7, -(-(row + 1) * 20 // 7))
            columns = slice(column * 13 // 6, -(-(column + 1) * 13 // 6))
            assert out[row, column] == pytest.approx(image[rows, columns].mean())


def test_choices_keep_the_published_ranges_and_shares():
    draw = Draw([5], 'cpu')
    for probabilities, limits in (((0.2, 0.7, 0.1), (0.15, 1.5)), ((0.3, 0.4, 0.3), (0.3, 1.2))):
        factors = np.array([draw.factor(probabilities, limits) for _ in range(4000)])
        shares = (factors > 1).mean(), (factors < 1).mean(), (factors == 1).mean()
        assert shares == pytest.approx(probabilities, abs=0.025)
        assert limits[0] <= factors.min() < limits[0] + 0.02 and limits[1] - 0.02 < factors.max() <= limits[1]
    modes = [draw.mode() for _ in range(3000)]
    assert [modes.count(mode) / 3000 for mode in ('area', 'bilinear', 'bicubic')] == pytest.approx(
        [1 / 3] * 3, abs=0.03
    )


def test_strengths_are_drawn_for_each_sample_in_their_range(batches, monkeypatch):
    """What reaches noise and JPEG over many batches, by the default options: those of Real-ESRGAN."""
    seen = {'gaussian_noise': [], 'poisson_noise': [], 'jpeg': []}
    for name, values in seen.items():
        monkeypatch.setattr(
            degradation, name, lambda images, strength, *rest, values=values: values.append((strength, *rest)) or images
        )
    blurs = []
    monkeypatch.setattr(degradation, 'blur', lambda images, kernels: blurs.append(kernels) or images)
    degrade = RealDegradation(gt_usm=False, **SMALL)
    (batch,) = batches(1)
    orders, runs = [], 400
    for number in range(runs):
        batch['seed'] += number
        draw = Draw(batch['seed'].tolist(), 'cpu')
        steps = degrade.stages(*(batch[name] for name in ('gt', 'kernel1', 'kernel2', 'sinc_kernel')), draw)
        labels = [label for label, _ in steps]
        orders.append(labels[-2] == 'JPEG')
    assert np.mean(orders) == pytest.approx(0.5, abs=0.07)
    assert (len(blurs) - 2 * runs) / runs == pytest.approx(0.8, abs=0.05)  # the second blur
    sigma, scale, quality = (torch.stack([call[0] for call in seen[name]]) for name in seen)
    assert len(sigma) / (2 * runs) == pytest.approx(0.5, abs=0.05) and len(sigma) + len(scale) == 2 * runs
    for values, low, high in ((sigma, 1, 30), (scale, 0.05, 3), (quality, 30, 95)):
        assert low <= values.min() < low + 0.03 * high and 0.97 * high < values.max() <= high
        assert (values.std(dim=1) > 0).all()
    gray = torch.stack([call[1] for name in ('gaussian_noise', 'poisson_noise') for call in seen[name]])
    assert gray.float().mean().item() == pytest.approx(0.4, abs=0.04)


def test_is_described_by_the_top_level_of_the_options():
    options = load_options(
        {'model_type': 'SRModel', 'scale': 2, 'queue_size': 144, 'gt_size': 64, 'jpeg_range': [50, 95], 'gt_usm': False}
    )
    made = build_degradation(options, 'cpu')
    assert (made.scale, made.queue_size, made.gt_size, made.jpeg_range) == (2, 144, 64, [50, 95])
    assert made.gt_usm is False and made.resize_prob2 == (0.3, 0.4, 0.3)


def test_ranges_that_leave_no_room_are_all_told():
    with pytest.raises(UserError) as caught:
        RealDegradation(resize_range=(0.2, 0.9), resize_prob2=(0, 0, 0), jpeg_range2=(0, 95), gt_size=30)
    told = '\n'.join(caught.value.problems)
    for part in ('resize_range is [0.2, 0.9]', 'resize_prob2 is all zero', 'jpeg_range2 is [0, 95]', 'gt_size 30'):
        assert part in told


def test_a_patch_larger_than_the_ground_truth(batches):
    with pytest.raises(UserError, match='gt_size 128 does not fit into 64x64; lower it or raise crop_size'):
        RealDegradation(gt_size=128)(batches(1)[0])


@pytest.mark.gpu
def test_on_the_gpu(batches):
    (batch,) = batches(1)
    degrade, again = (RealDegradation(device='cuda', **SMALL) for _ in range(2))
    out = degrade(batch)
    assert all(images.is_cuda for images in out.values()) and same(out, again(batch))
    here = RealDegradation(**SMALL)(batch)
    torch.testing.assert_close(out['gt'].cpu(), here['gt'])
    assert degrade.state_dict()['gt'].device.type == 'cpu'
