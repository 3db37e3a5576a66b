import threading

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from aesop.archs import build_network
from aesop.errors import UserError
from aesop.metrics.detail import DetailRatio
from aesop.metrics.psnr_ssim import psnr
from aesop.models import build_model
from aesop.models.precision import Precision
from aesop.options import load_options
from aesop.upscale import folder, networks
from aesop.upscale.folder import Outcome, Upscaler, find_jobs, run
from aesop.utils import checkpoint
from aesop.utils.images import read_image, save_image, to_tensor, to_uint8
from aesop.utils.imresize import imresize
from tests.commands import command
from tests.golden import fill_

main = command('upscale')

NET = {'type': 'SRVGGNetCompact', 'num_feat': 8, 'num_conv': 2, 'upscale': 2}
RRDB = {'type': 'RRDBNet', 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4}


@pytest.fixture
def images(tmp_path):
    """Six images in a tree; two sizes."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(('0.png', '1.jpg', 'a/2.png', 'a/3.bmp', 'a/b/4.png', 'ü c/5.png')):
        side = 20 if number % 3 else 30
        save_image(tmp_path / 'in' / name, rng.integers(0, 256, (side, 24, 3), dtype=np.uint8))
    return tmp_path / 'in'


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / 'net.pth'
    checkpoint.save_network(path, checkpoint.network_state_dict(fill_(build_network(NET))))
    return path


def command(images, weights, *more):
    return main(
        [
            str(images),
            '-o',
            str(images.with_name('out')),
            '--weights',
            str(weights),
            '--device',
            'cpu',
            '--precision',
            'fp32',
            *more,
        ]
    )


def files(path):
    return sorted(str(file.relative_to(path)) for file in path.rglob('*') if file.is_file())


def upscaler(net, precision='fp32', **more):
    options = load_options({'runtime': {'precision': precision, 'compile': more.pop('compile', False)}})
    arguments = {'tile': None, 'overlap': 32, 'batch': 1} | more
    return Upscaler(net.requires_grad_(False), Precision(options, torch.device('cpu')), **arguments)


def test_results_are_those_of_the_model_and_keep_the_tree(images, weights, capsys):
    assert command(images, weights) == 0
    assert 'SRVGGNetCompact, x2' in (said := capsys.readouterr().out)
    assert '6 images in' in said
    out = images.with_name('out')
    assert files(out) == ['0.png', '1.png', 'a/2.png', 'a/3.png', 'a/b/4.png', 'ü c/5.png']
    model = build_model(
        {
            'model_type': 'SRModel',
            'scale': 2,
            'network_g': {'num_in_ch': 3, **NET},
            'path': {'pretrain_network_g': str(weights)},
        },
        'cpu',
    )
    for source in images.rglob('*.*'):
        result = out / source.relative_to(images).with_suffix('.png')
        expected = to_uint8(model.predict(to_tensor(read_image(source))[None])[0])
        assert np.array_equal(read_image(result), expected), source


def test_what_exists_is_skipped_and_counted_unless_told_otherwise(images, weights, capsys):
    out = images.with_name('out')
    save_image(out / 'a/2_x2.png', np.zeros((2, 2, 3), np.uint8))
    assert command(images, weights, '--suffix', '_x2') == 0
    assert '5 images in' in (said := capsys.readouterr().out)
    assert '1 exist (--overwrite' in said
    assert read_image(out / 'a/2_x2.png').shape == (2, 2, 3)
    assert command(images, weights, '--suffix', '_x2', '--overwrite', '--format', 'jpg', '--quality', '80') == 0
    assert (out / 'a/2_x2.jpg').exists()
    assert command(images, weights, '--suffix', '_x2', '--overwrite') == 0
    assert read_image(out / 'a/2_x2.png').shape == (40, 48, 3)


def test_the_rest_is_done_where_some_cannot_be(images, weights, capsys):
    (images / 'a/bad.png').write_bytes(b'no image')
    (images / 'cut.png').write_bytes((images / '0.png').read_bytes()[:400])
    save_image(images / '1.png', np.zeros((4, 4, 3), np.uint8))
    assert command(images, weights) == 2
    streams = capsys.readouterr()
    told = [line for line in streams.err.splitlines() if line.startswith('aesop upscale: ')]
    assert len(told) == 3
    assert '6 images in' in streams.out and '3 could not be upscaled' in streams.out
    for what in ('a/bad.png: this cannot be read as an image', 'cut.png: the file is', '1.png as that of 1.jpg'):
        assert any(what in line for line in told), what
    assert len(files(images.with_name('out'))) == 6


@pytest.mark.parametrize(
    ('source', 'output', 'what'),
    [
        ('in', 'in', 'holds the images themselves'),
        ('in/0.png', 'in', 'is the image itself'),
        ('in/0.png', 'x.tif', 'results are .png'),
        ('nowhere', 'out', 'file or folder not found'),
        ('in', 'net.pth', 'is a file'),
    ],
)
def test_places_that_cannot_be_are_refused(images, weights, source, output, what):
    with pytest.raises(UserError, match=what):
        find_jobs(images.parent / source, images.parent / output, '', None, overwrite=True)


def test_results_inside_the_folder_are_not_upscaled_again(images, weights):
    jobs, _ = find_jobs(images, images / 'out', '', None, False)
    save_image(images / 'out/0.png', np.zeros((4, 4, 3), np.uint8))
    again, outcome = find_jobs(images, images / 'out', '', None, False)
    assert (len(jobs), len(again), outcome.skipped) == (6, 5, 1)


def test_one_image_to_a_file_or_a_folder(images, weights):
    with pytest.raises(UserError, match='its extension contradicts --format jpg'):
        find_jobs(images / '0.png', images.parent / 'one.webp', '', '.jpg', False)
    for output, expected in (('one.webp', 'one.webp'), ('two', 'two/0.png')):
        assert main([str(images / '0.png'), '-o', str(images.parent / output), '--weights', str(weights)]) == 0
        assert read_image(images.parent / expected).shape == (60, 48, 3)


@pytest.mark.parametrize('arguments', [('--device', 'cuda:99'), ('--key', 'net_g'), ('--arch', '{type: RRDBNett}')])
def test_a_wrong_argument_is_told(images, weights, arguments, capsys):
    assert command(images, weights, *arguments) == 2
    assert capsys.readouterr().err.startswith('aesop upscale: ')
    assert not images.with_name('out').exists()


def test_tiles_in_batches_are_the_whole_image():
    """RRDBNet, which sees 19 pixels around one here, with weights large enough for that to show."""
    net = fill_(build_network(RRDB))
    lq = torch.rand(1, 3, 40, 120, generator=torch.Generator().manual_seed(1))
    whole = net(lq)
    sizes = []
    in_tiles = upscaler(net, tile=16, overlap=20, batch=4)
    in_tiles.predict._predict = lambda x: sizes.append(tuple(x.shape)) or net(x)
    assert (in_tiles.predict(lq) - whole).abs().max() <= 1e-4 * whole.abs().max()
    assert sizes.count((4, 3, 40, 56)) == 1
    assert sum(size[0] for size in sizes) == 3 * 8
    assert (upscaler(net, tile=16, overlap=4).predict(lq) - whole).abs().max() > 1e-3 * whole.abs().max()


def test_images_of_equal_size_go_together(images, monkeypatch):
    calls = []
    up = upscaler(build_network(NET), batch=3)
    monkeypatch.setattr(up.predict, '_predict', lambda x: calls.append(len(x)) or x.repeat_interleave(2, 2))
    photos = [folder.read_photo(images / name) for name in ('1.jpg', 'a/2.png', 'a/b/4.png', 'ü c/5.png', '0.png')]
    groups = list(up.groups(photos))
    assert [[photo.path.stem for photo in group] for group in groups] == [['1', '2', '4'], ['5'], ['0']]
    up(groups[0])
    assert calls == [3]


@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
def test_lower_precision_is_near(precision):
    net = fill_(build_network({**RRDB, 'num_feat': 32, 'num_grow_ch': 16}))
    photo = folder.Photo(None, np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8))
    exact = upscaler(net)([photo])
    rounded = upscaler(net, precision)([photo])
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).abs().max() < 0.02 * exact.abs().max()


def test_numbers_that_are_not_finite_are_told_and_not_written(images, weights, capsys):
    state = checkpoint.load(weights)
    state['params']['body.0.weight'].fill_(torch.nan)
    checkpoint.save(state, weights)
    assert command(images, weights) == 2
    assert capsys.readouterr().err.count('the network gave no finite numbers') == 6
    assert files(images.with_name('out')) == []


def test_an_interrupt_leaves_no_half_file_and_the_next_call_goes_on(images, weights, monkeypatch, capsys):
    forward = Upscaler._forward
    count = iter(range(100))

    def interrupted(self, lq):
        if next(count) == 3:
            raise KeyboardInterrupt
        return forward(self, lq)

    with monkeypatch.context() as patch:
        patch.setattr(Upscaler, '_forward', interrupted)
        assert command(images, weights) == 3
    assert 'run the same command again to resume' in capsys.readouterr().err
    out = images.with_name('out')
    before = files(out)
    assert before == ['0.png', '1.png', 'a/2.png']
    assert not any(thread.name.startswith(('reader', 'writer')) for thread in threading.enumerate())
    assert command(images, weights) == 0
    assert len(files(out)) == 6
    assert '3 images in' in (said := capsys.readouterr().out)
    assert '3 exist' in said


def test_a_full_disk_ends_the_run(images, weights, monkeypatch, capsys):
    def full(path, *_):
        raise OSError(28, 'No space left on device', str(path))

    monkeypatch.setattr(folder, 'write_photo', full)
    assert command(images, weights) == 2
    assert capsys.readouterr().err.count('the disk is full') == 1


def test_what_cannot_be_written_is_told_and_the_rest_is_done(images, weights, capsys):
    out = images.with_name('out')
    out.mkdir()
    (out / 'a').write_bytes(b'a file where a folder is needed')
    assert command(images, weights) == 2
    told = capsys.readouterr().err.splitlines()
    assert len([line for line in told if 'a/2.png: ' in line or 'a/3.bmp: ' in line or 'a/b/4.png: ' in line]) == 3
    assert files(out) == ['0.png', '1.png', 'a', 'ü c/5.png']


def test_reading_and_writing_run_beside_the_network(images):
    """The third image is read, and the first one written, before the network has finished the second."""
    net, happened = build_network(NET), threading.Barrier(3, timeout=300)
    jobs, outcome = find_jobs(images, images.with_name('out'), '', None, False)
    up = upscaler(net)
    calls = []

    def meet(where, index):
        if where == index:
            happened.wait()

    read, write, forward = folder.read_photo, folder.write_photo, up.predict._predict
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder, 'read_photo', lambda p: (meet(p.stem, '2'), read(p))[1])
        patch.setattr(folder, 'write_photo', lambda t, *a: (meet(t.stem, '0'), write(t, *a))[1])
        patch.setattr(up.predict, '_predict', lambda x: (calls.append(1), meet(len(calls), 2), forward(x))[2])
        run(up, jobs, outcome, quality=95)
    assert outcome == Outcome(done=6)


@pytest.mark.parametrize('kind', ['RGB', 'RGBA', 'L', 'deep'])
def test_a_large_png_is_written_while_it_is_computed_and_is_the_same(kind, tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (75, 41, 4), dtype=np.uint8)
    if kind == 'deep':
        cv2.imwrite(str(tmp_path / 'a.png'), 257 * pixels[..., :3].astype(np.uint16))
    else:
        Image.fromarray(pixels).convert(kind).save(tmp_path / 'a.png')
    net = fill_(build_network(NET))
    results, bands = [], []
    for large in (2**24, 0):
        monkeypatch.setattr(folder, 'LARGE', large)
        jobs, outcome = find_jobs(tmp_path / 'a.png', tmp_path / f'{large}.png', '', None, False)
        up = upscaler(net, tile=16, overlap=4, batch=2)
        original = up.bands
        up.bands = lambda *a, original=original: (bands.append(b.shape) or b for b in original(*a))
        run(up, jobs, outcome, quality=95)
        assert outcome == Outcome(done=1)
        results.append(cv2.imread(str(tmp_path / f'{large}.png'), cv2.IMREAD_UNCHANGED))
    whole, streamed = (result.astype(int) for result in results)
    assert np.abs(whole - streamed).max() <= 1  # the tiles lie elsewhere, so that sums are rounded in another way
    assert (whole != streamed).mean() < 0.01
    assert results[0].dtype == results[1].dtype == (np.uint16 if kind == 'deep' else np.uint8)
    assert bands == [(1 if kind == 'L' else 3, 16, 82)] * 9 + [(1 if kind == 'L' else 3, 6, 82)]


@pytest.mark.parametrize('where', ['network', 'disk'])
def test_a_large_png_that_breaks_off_leaves_nothing(where, images, weights, monkeypatch, capsys):
    monkeypatch.setattr(folder, 'LARGE', 0)
    if where == 'network':
        state = checkpoint.load(weights)
        state['params']['body.0.weight'].fill_(torch.nan)
        checkpoint.save(state, weights)
        told = 'the network gave no finite numbers'
    else:

        def full(*_):
            raise OSError(28, 'No space left on device')

        monkeypatch.setattr(folder, 'write_bands', full)
        told = 'the disk is full'
    assert command(images, weights, '--tile', '16') == 2
    assert told in capsys.readouterr().err
    assert files(images.with_name('out')) == []


def test_results_lie_beside_the_input_by_default(images, weights):
    assert main([str(images / '0.png'), '--weights', str(weights), '--device', 'cpu']) == 0
    assert read_image(images / '0_x2.png').shape == (60, 48, 3)
    assert main([str(images / 'a'), '--weights', str(weights), '--device', 'cpu']) == 0
    assert files(images / 'a_x2') == ['2.png', '3.png', 'b/4.png']


def test_the_network_of_the_package_beats_bicubic_without_a_word_about_weights(tmp_path):
    """PSNR and the detail of a photograph that it was not trained on."""
    from skimage import data

    gt = to_tensor(data.coffee()[60:220, 160:352])
    save_image(tmp_path / 'photo.png', imresize(gt, 1 / 4).clamp(0, 1))
    assert main([str(tmp_path / 'photo.png'), '--device', 'cpu']) == 0
    sr = to_tensor(read_image(tmp_path / 'photo_x4.png'))
    bicubic = imresize(to_tensor(read_image(tmp_path / 'photo.png')), 4)
    assert psnr(sr[None], gt[None]) > psnr(bicubic[None], gt[None]) + 0.3
    detail = DetailRatio(crop_border=4)
    assert 0.2 < detail(sr, gt) < 2 and detail(bicubic, gt) < 0.05


class Leaning(nn.Module):
    """Enlarges, and adds a ramp over whatever it is given: what lies at a tile's left edge becomes darker."""

    scale = 2

    def forward(self, lq):
        ramp = torch.linspace(-0.2, 0.2, lq.shape[-1]).expand_as(lq)
        return F.interpolate(lq + ramp, scale_factor=2, mode='nearest')


def test_blending_hides_the_seams_of_a_network_that_depends_on_the_place(tmp_path, weights, monkeypatch):
    save_image(tmp_path / 'grey.png', np.full((40, 160, 3), 128, np.uint8))
    monkeypatch.setattr(networks, 'load_generator', lambda *_: Leaning())
    rows = {}
    for blend in ('0', '16'):
        tiles = ['--tile', '96', '--overlap', '16', '--blend', blend, '--overwrite']
        assert command(tmp_path / 'grey.png', weights, *tiles) == 0
        rows[blend] = read_image(tmp_path / 'out' / 'grey.png').astype(int)
        assert (rows[blend] == rows[blend][:1, :, :1]).all()
        rows[blend] = rows[blend][0, :, 0]
    steps = {blend: abs(np.diff(row)).max() for blend, row in rows.items()}
    assert steps['0'] > 25 and steps['16'] <= 3
    seam = abs(np.diff(rows['0'])).argmax() + 1
    far = abs(np.arange(320) - seam) > 2 * 16
    assert np.array_equal(rows['0'][far], rows['16'][far])  # away from it nothing changes


@pytest.mark.parametrize('name', ['wavelet', 'adain'])
def test_colours_are_corrected(name, tmp_path, weights, monkeypatch):
    class Reddening(nn.Module):
        scale = 2

        def forward(self, lq):
            return F.interpolate(lq, scale_factor=2, mode='bicubic') + torch.tensor([0.1, 0, -0.05]).view(3, 1, 1)

    monkeypatch.setattr(networks, 'load_generator', lambda *_: Reddening())
    y, x = np.mgrid[:48, :60]
    lq = np.stack([60 + 2 * x, 70 + 2 * y, 90 + x + y], -1).astype(np.uint8)
    save_image(tmp_path / 'in.png', lq)
    means = []
    for arguments in ((), ('--colour', name)):
        assert command(tmp_path / 'in.png', weights, '--overwrite', *arguments) == 0
        means.append(read_image(tmp_path / 'out' / 'in.png').mean((0, 1)) - lq.mean((0, 1)))
    assert means[0] == pytest.approx([25.5, 0, -12.75], abs=1.5) and means[1] == pytest.approx([0, 0, 0], abs=1)
