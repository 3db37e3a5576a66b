from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageCms

from aesop.errors import UserError
from aesop.upscale.photo import levels, read_photo, write_photo
from aesop.upscale.png import chunk as _chunk
from aesop.utils.imresize import imresize

RNG = np.random.default_rng(0)
RGBA = RNG.integers(0, 256, (6, 9, 4), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (6, 9, 4), dtype=np.uint16)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
GREY_PROFILE = SRGB[:16] + b'GRAY' + SRGB[20:]


def upscaled(path: Path, to: str, factor: int = 1):
    """The path of what is written for `path` by a network that repeats pixels."""
    photo = read_photo(path)
    target = path.with_name(f'sr{to}')
    sr = F.interpolate(photo.image()[None], scale_factor=factor)[0]
    write_photo(target, photo, levels(sr, photo, to).permute(1, 2, 0).numpy(), quality=95)
    return target


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def exif(orientation=1, **more):
    block = Image.Exif()
    block[0x010F], block[0x0112] = 'a camera', orientation
    details = block.get_ifd(0x8769)
    details[0x8827], details[0xA002], details[0xA003] = 200, 9, 6  # ISO, width, height
    return block


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'L', 'LA'])
@pytest.mark.parametrize('form', ['.png', '.tif'])
def test_8_bit_pixels_come_back(tmp_path, mode, form):
    image = Image.fromarray(RGBA).convert(mode)
    image.save(tmp_path / f'a{form}')
    with Image.open(upscaled(tmp_path / f'a{form}', '.png')) as written:
        assert written.mode == mode
        assert np.array_equal(np.asarray(written), np.asarray(image))


@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize('form', ['.png', '.tif'])
def test_16_bits_come_back(tmp_path, channels, form):
    stored = np.ascontiguousarray(DEEP[..., :channels])
    cv2.imwrite(str(tmp_path / f'a{form}'), stored)
    written = cv2.imread(str(upscaled(tmp_path / f'a{form}', '.png')), cv2.IMREAD_UNCHANGED)
    assert written.dtype == np.uint16
    assert np.array_equal(written.reshape(stored.shape), stored)


def test_16_bits_become_8_in_another_format(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((6, 9, 3), 128 * 257, np.uint16))
    with Image.open(upscaled(tmp_path / 'a.png', '.webp')) as written:
        assert np.abs(np.asarray(written).astype(int) - 128).max() <= 1


def test_alpha_is_enlarged_by_bicubic_interpolation(tmp_path):
    with Image.open(upscaled(save(tmp_path / 'a.png', RGBA), '.png', 4)) as written:
        assert written.size == (36, 24)
        alpha = np.asarray(written)[..., 3]
    expected = imresize(torch.from_numpy(RGBA[..., 3] / 255.0)[None], 4)[0].clamp(0, 1) * 255
    assert np.array_equal(alpha, expected.round().numpy().astype(np.uint8))


def test_a_transparent_colour_of_a_palette_is_alpha(tmp_path):
    palette = Image.fromarray(RGBA[..., :3]).quantize(8)
    palette.save(tmp_path / 'a.png', transparency=3)
    with Image.open(upscaled(tmp_path / 'a.png', '.png')) as written:
        assert np.array_equal(np.asarray(written)[..., 3] == 0, np.asarray(palette) == 3)


def test_jpeg_leaves_alpha_out_and_says_so(tmp_path, caplog):
    with Image.open(upscaled(save(tmp_path / 'a.png', RGBA), '.jpg')) as written:
        assert written.mode == 'RGB'
    assert 'JPEG has no alpha channel' in caplog.text


@pytest.mark.parametrize('to', ['.png', '.jpg', '.webp'])
@pytest.mark.parametrize('bits', [8, 16])
def test_profile_and_exif_are_kept_for_an_upright_image(tmp_path, to, bits):
    path = tmp_path / 'a.png'
    if bits == 8:
        save(path, RGBA[..., :3], icc_profile=SRGB, exif=exif(6))
    else:  # written by ourselves, from an 8-bit file that is made 16
        photo = read_photo(save(tmp_path / '8.png', RGBA[..., :3], icc_profile=SRGB, exif=exif(6)))
        write_photo(path, photo, 257 * photo.colours.astype(np.uint16), 95)
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).dtype == np.uint16
    with Image.open(upscaled(path, to, 2)) as written:
        assert written.size == (12, 18)  # the stored image lay on its side
        assert written.info['icc_profile'] == SRGB
        tags, details = written.getexif(), written.getexif().get_ifd(0x8769)
        assert tags[0x010F] == 'a camera'
        assert tags.get(0x0112, 1) == 1
        assert dict(details) == {0x8827: 200}


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('bits', [8, 16])
def test_colours_and_alpha_are_turned_alike(tmp_path, orientation, bits):
    plane = RGBA[..., :1] if bits == 8 else DEEP[..., :1]
    same = np.repeat(plane, 4, axis=2)
    path = tmp_path / 'a.png'
    if bits == 8:
        save(path, same, exif=exif(orientation))
    else:
        data = cv2.imencode('.png', same)[1].tobytes()
        path.write_bytes(data[:33] + _chunk(b'eXIf', exif(orientation).tobytes()[6:]) + data[33:])
    photo = read_photo(path)
    assert photo.size == ((6, 9) if orientation < 5 else (9, 6))
    assert np.array_equal(photo.alpha[..., 0], photo.colours[..., 0])


def test_a_tiff_is_turned_and_its_storage_is_not_told(tmp_path):
    path = save(tmp_path / 'a.tif', RGBA, exif=exif(6))
    photo = read_photo(path)
    assert photo.alpha.shape == (9, 6, 1)
    with Image.open(upscaled(path, '.png')) as written:
        assert set(written.getexif()) - {0x8769} <= {0x010F, 282, 283, 296, 305, 306}


@pytest.mark.parametrize(('mode', 'profile', 'kept'), [
    ('L', GREY_PROFILE, True), ('L', SRGB, False), ('RGB', GREY_PROFILE, False), ('RGB', SRGB, True),
])  # fmt: skip
def test_a_profile_for_other_colours_is_left_out_and_said(tmp_path, caplog, mode, profile, kept):
    path = tmp_path / 'a.webp' if mode == 'RGB' else tmp_path / 'a.jpg'
    Image.fromarray(RGBA).convert(mode).save(path, icc_profile=profile)
    with Image.open(upscaled(path, '.png')) as written:
        assert ('icc_profile' in written.info) == kept
    assert ('is left out' in caplog.text) != kept


@pytest.mark.parametrize('content', [b'', b'no image', None])
def test_what_is_no_image_is_told(tmp_path, content):
    path = tmp_path / 'a.png'
    path.write_bytes(save(tmp_path / 'b.png', RGBA).read_bytes()[:60] if content is None else content)
    with pytest.raises(UserError, match='a.png: the file is'):
        read_photo(path)


def test_a_size_that_the_format_does_not_take_is_told_and_nothing_is_left(tmp_path):
    photo = read_photo(save(tmp_path / 'a.png', RGBA[..., :3]))
    with pytest.raises(UserError, match='WEBP does not support this image .*--format png'):
        write_photo(tmp_path / 'b.webp', photo, np.zeros((1, 17000, 3), np.uint8), 95)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.png']
