import os
import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageOps

from aesop.errors import UserError
from aesop.utils.images import (
    has_end,
    image_kind,
    image_size,
    list_images,
    quantise,
    read_image,
    save_image,
    to_tensor,
    to_uint8,
    to_y,
)

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (31, 45, 3), dtype=np.uint8)
Y, X = np.mgrid[0:31, 0:45]
SMOOTH = np.stack([Y * 8, X * 5, Y + X], -1).astype(np.uint8)


@pytest.mark.parametrize('suffix', ['.png', '.bmp', '.tif', '.tiff', '.ppm', '.PNG'])
def test_lossless_round_trip(tmp_path, suffix):
    path = tmp_path / f'new folder/Bild – 画像{suffix}'  # odd sides, folders that are not there yet, unicode
    save_image(path, NOISE)
    np.testing.assert_array_equal(read_image(path), NOISE)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), NOISE)  # RGB order on disk, as Pillow sees it
    assert image_size(path) == (31, 45)


@pytest.mark.parametrize('suffix', ['.jpg', '.jpeg', '.webp'])
def test_lossy_formats(tmp_path, suffix):
    save_image(tmp_path / f'a{suffix}', SMOOTH)
    assert np.abs(read_image(tmp_path / f'a{suffix}').astype(int) - SMOOTH).mean() < 4
    assert image_size(tmp_path / f'a{suffix}') == (31, 45)


def test_grey_becomes_three_equal_channels(tmp_path):
    Image.fromarray(NOISE[..., 0]).save(tmp_path / 'l.png')
    Image.fromarray(NOISE[..., :2].copy(), mode='LA').save(tmp_path / 'la.png')
    Image.fromarray(NOISE[..., 0] > 127).save(tmp_path / 'one_bit.png')
    for name in ('l.png', 'la.png'):
        np.testing.assert_array_equal(read_image(tmp_path / name), NOISE[..., :1].repeat(3, -1))
    expected = np.where(NOISE[..., :1] > 127, 255, 0).repeat(3, -1)
    np.testing.assert_array_equal(read_image(tmp_path / 'one_bit.png'), expected)


def test_16_bits_are_kept(tmp_path):
    deep = RNG.integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    save_image(tmp_path / 'rgb.png', deep)
    back = read_image(tmp_path / 'rgb.png')
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back, deep)
    np.testing.assert_allclose(to_tensor(back).permute(1, 2, 0).double().numpy(), deep / 65535, atol=1e-7)
    cv2.imwrite(str(tmp_path / 'grey.png'), deep[..., 0])
    np.testing.assert_array_equal(read_image(tmp_path / 'grey.png'), deep[..., :1].repeat(3, -1))


def test_palette(tmp_path):
    few = (SMOOTH // 64 * 64).astype(np.uint8)
    Image.fromarray(few).quantize(256).save(tmp_path / 'p.png')
    Image.fromarray(few).quantize(256).save(tmp_path / 'transparent.png', transparency=0)
    for name in ('p.png', 'transparent.png'):
        np.testing.assert_array_equal(
            read_image(tmp_path / name), np.asarray(Image.open(tmp_path / 'p.png').convert('RGB'))
        )


def test_alpha_is_ignored(tmp_path):
    Image.fromarray(np.dstack([NOISE, X.astype(np.uint8)])).save(tmp_path / 'a.png')
    np.testing.assert_array_equal(read_image(tmp_path / 'a.png'), NOISE)


def test_cmyk_jpeg(tmp_path):
    Image.fromarray(SMOOTH).convert('CMYK').save(tmp_path / 'a.jpg', quality=98)
    assert np.abs(read_image(tmp_path / 'a.jpg').astype(int) - SMOOTH).mean() < 4
    assert image_size(tmp_path / 'a.jpg') == (31, 45)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp', 'tif'])
def test_exif_rotation_is_applied(tmp_path, orientation, suffix):
    path = tmp_path / f'a.{suffix}'
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image = Image.fromarray(SMOOTH)
    image.save(path, exif=exif, **({'quality': 98} if suffix == 'jpg' else {'lossless': True}))
    image.getexif()[ExifTags.Base.Orientation] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    read = read_image(path)
    assert read.shape == expected.shape and image_size(path) == read.shape[:2]
    assert np.abs(read.astype(int) - expected).mean() < 2


def damaged_files(folder):
    """Every kind of file that only looks like an image, by what is wrong with it."""
    image = Image.effect_noise((120, 90), 60).convert('RGB')
    for name in ('a.png', 'a.jpg', 'progressive.jpg', 'a.bmp', 'a.webp'):
        image.save(folder / name, progressive=name.startswith('progressive'))
        whole = (folder / name).read_bytes()
        (folder / f'half_{name}').write_bytes(whole[: len(whole) // 2])
        (folder / f'nearly_{name}').write_bytes(whole[:-9])
    flipped = bytearray((folder / 'a.png').read_bytes())
    flipped[len(flipped) // 2] ^= 0xFF
    (folder / 'flipped.png').write_bytes(flipped)
    # an end marker inside the header must not pass for the end of the picture
    whole = (folder / 'a.jpg').read_bytes()
    (folder / 'half_with_thumbnail.jpg').write_bytes(
        whole[:2] + b'\xff\xed\x00\x06\xff\xd9\xff\xd9' + whole[2 : len(whole) // 2]
    )
    (folder / 'zero.png').touch()
    (folder / 'text.png').write_text('hello')
    return [p for p in folder.iterdir() if p.name.startswith(('half', 'nearly', 'flipped', 'zero', 'text'))]


def test_damaged_files_are_named(tmp_path):
    files = damaged_files(tmp_path)
    assert len(files) == 14
    for path in files:
        with pytest.raises(UserError, match='replace the file') as error:
            read_image(path)
        assert str(path) in str(error.value)
    with pytest.raises(UserError, match='is empty'):
        read_image(tmp_path / 'zero.png')
    for name in ('zero.png', 'text.png'):
        with pytest.raises(UserError, match='cannot be read as an image'):
            image_size(tmp_path / name)


def test_a_lenient_decoder_does_not_hide_the_cut(tmp_path, monkeypatch):
    """OpenCV before 5 decodes a cut-off PNG or JPEG and fills the rest."""
    files = [path for path in damaged_files(tmp_path) if path.name.startswith(('half', 'nearly'))]
    monkeypatch.setattr(cv2, 'imdecode', lambda data, flags: SMOOTH)
    for path in files:
        if path.suffix in ('.png', '.jpg'):
            with pytest.raises(UserError, match='damaged or truncated'):
                read_image(path)


def test_bytes_after_the_picture_do_no_harm(tmp_path):
    for name in ('a.jpg', 'a.png'):
        save_image(tmp_path / name, SMOOTH)
        before = read_image(tmp_path / name)
        with open(tmp_path / name, 'ab') as file:
            file.write(b'\xff\xda\x00more' * 5)
        np.testing.assert_array_equal(read_image(tmp_path / name), before)


@pytest.mark.parametrize('read', [read_image, image_size])
def test_vanished_file(tmp_path, read):
    with pytest.raises(UserError, match='gone.png: file not found'):
        read(tmp_path / 'gone.png')


def test_floating_point_pixels_are_refused(tmp_path):
    cv2.imwrite(str(tmp_path / 'f.tif'), NOISE.astype(np.float32))
    with pytest.raises(UserError, match='f.tif: .*float32.* convert it to an 8- or 16-bit PNG'):
        read_image(tmp_path / 'f.tif')


def test_size_does_not_decode(tmp_path):
    """The header is enough: the pixels may be missing."""
    for suffix in ('png', 'jpg'):
        Image.effect_noise((300, 200), 60).save(tmp_path / f'a.{suffix}')
        data = (tmp_path / f'a.{suffix}').read_bytes()
        (tmp_path / f'head.{suffix}').write_bytes(data[:1000])
        assert image_size(tmp_path / f'head.{suffix}') == (200, 300)


def test_size_of_what_pillow_refuses(tmp_path, monkeypatch):
    save_image(tmp_path / 'a.png', NOISE)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    assert image_size(tmp_path / 'a.png') == (31, 45)


def test_save_refuses_unknown_formats(tmp_path):
    for name in ('a', 'a.docx'):
        with pytest.raises(UserError, match='use .png'):
            save_image(tmp_path / name, NOISE)


def test_save_tensor(tmp_path):
    save_image(tmp_path / 'a.png', to_tensor(NOISE))
    np.testing.assert_array_equal(read_image(tmp_path / 'a.png'), NOISE)


def test_list_images(tmp_path):
    for name in ('b.PNG', 'a.jpeg', 'sub/c.webp', 'sub/c.txt', '.hidden.png', '.cache/d.png', 'e.TIFF'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'linked').symlink_to(tmp_path / 'sub')
    names = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert names == ['a.jpeg', 'b.PNG', 'e.TIFF', 'linked/c.webp', 'sub/c.webp']


def test_list_images_of_nothing(tmp_path):
    with pytest.raises(UserError, match='folder not found; correct the path'):
        list_images(tmp_path / 'missing')
    with pytest.raises(UserError, match='contains no images'):
        list_images(tmp_path)


def test_to_uint8_clamps_and_rounds_half_to_even():
    values = torch.tensor([-1.0, 0.5 / 255, 1.5 / 255, 0.4999, 1.0, 7.0], dtype=torch.double)
    assert to_uint8(values.view(1, 1, 6)).ravel().tolist() == [0, 0, 2, 127, 255, 255]
    assert to_uint8(torch.rand(3, 4, 5)).shape == (4, 5, 3)
    np.testing.assert_array_equal(to_uint8(to_tensor(NOISE)), NOISE)


def test_quantise():
    x = torch.rand(2, 3, 4, 5, dtype=torch.double) * 1.4 - 0.2
    steps = quantise(x) * 255
    assert quantise(x).dtype == torch.double
    assert torch.allclose(steps, steps.round(), atol=1e-12) and steps.min() >= 0 and steps.max() <= 255
    assert (quantise(x) - x.clamp(0, 1)).abs().max() <= 0.5 / 255 + 1e-12


def test_to_y():
    corners = torch.tensor([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.double)
    y = to_y(corners.view(5, 3, 1, 1))
    assert y.shape == (5, 1, 1, 1) and y.dtype == torch.double
    assert torch.allclose(y.flatten() * 255, torch.tensor([16, 235, 81.481, 144.553, 40.966], dtype=torch.double))


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.bmp'])
def test_the_end_of_a_file_is_looked_for_where_its_format_has_one(tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    save_image(path, SMOOTH)
    assert has_end(path)
    path.write_bytes(path.read_bytes()[:-50])
    assert has_end(path) == (suffix == '.bmp')


@pytest.mark.parametrize(
    ('suffix', 'kind'), [('.png', 'PNG RGB'), ('.jpg', 'JPEG RGB'), ('.bmp', 'BMP RGB'), ('.webp', 'WEBP RGB')]
)
def test_the_kind_of_an_image(tmp_path, suffix, kind):
    path = tmp_path / f'x{suffix}'
    save_image(path, np.zeros((4, 5, 3), np.uint8))
    assert image_kind(path) == kind == image_kind('name', path.read_bytes())
    save_image(tmp_path / 'deep.png', np.zeros((4, 5, 3), np.uint16))
    assert image_kind(tmp_path / 'deep.png') == 'PNG RGB 16 bits'
    path.write_text('no image')
    with pytest.raises(UserError, match='cannot be read as an image'):
        image_kind(path)


@pytest.mark.parametrize('function', [read_image, image_size, image_kind, has_end])
def test_what_is_no_regular_file_is_refused_without_being_opened(function, tmp_path):
    os.mkfifo(tmp_path / 'x.png')
    with pytest.raises(UserError, match=r'x.png: this is not a regular file; replace'):
        function(tmp_path / 'x.png')


def announcing(height, width, kind):
    """A small file whose header says that it is large."""
    data = cv2.imencode(kind, NOISE, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1] if kind == '.jpg' else [])[1].tobytes()
    if kind == '.png':
        header = b'IHDR' + struct.pack('>II', width, height) + data[24:29]
        return data[:12] + header + struct.pack('>I', zlib.crc32(header)) + data[33:]
    at = data.index(b'\xff\xc2') + 5
    return data[:at] + struct.pack('>HH', height, width) + data[at + 4 :]


@pytest.mark.parametrize('kind', ['.png', '.jpg'])
@pytest.mark.parametrize('side', [12_000, 30_000])
def test_a_bomb_is_refused_by_its_header(kind, side, tmp_path, monkeypatch):
    (tmp_path / f'a{kind}').write_bytes(announcing(side, side, kind))
    for function in (read_image, image_size):
        with pytest.raises(UserError, match='has more than 100,000,000 pixels.*AESOP_MAX_PIXELS'):
            function(tmp_path / f'a{kind}')
    monkeypatch.setenv('AESOP_MAX_PIXELS', '1000')
    save_image(tmp_path / 'b.png', NOISE)
    with pytest.raises(UserError, match='more than 1,000 pixels'):
        image_size(tmp_path / 'b.png')
    monkeypatch.setenv('AESOP_MAX_PIXELS', '2e8')
    if side == 12_000:
        assert image_size(tmp_path / f'a{kind}') == (side, side)
