import cv2
import numpy as np
import pytest

from aesop.data.storage import lmdb
from aesop.utils.images import list_images, save_image
from aesop.utils.imresize import imresize

SIZES = [(40, 56), (48, 48), (64, 40), (52, 44), (41, 59)]  # the last is no multiple of 4


@pytest.fixture
def folders(tmp_path):
    """hr/ and lr/ of five small images, lr made from the part of hr that is a multiple of 4."""
    rng = np.random.default_rng(7)
    for number, (height, width) in enumerate(SIZES):
        hr = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), (0, 0), 0.8)
        save_image(tmp_path / f'hr/{number}.png', hr)
        save_image(tmp_path / f'lr/{number}.png', imresize(hr[: height // 4 * 4, : width // 4 * 4], 0.25))
    return tmp_path


@pytest.fixture
def as_lmdb():
    """Makes `folder`.lmdb of a folder, in BasicSR's layout; `instead` replaces values by key (None: none at all)."""
    package = pytest.importorskip('lmdb')

    def make(folder, instead=()):
        lmdb.close()
        paths = list_images(folder)
        names = {path.relative_to(folder).with_suffix('').as_posix(): path for path in paths}
        values = {name: path.read_bytes() for name, path in names.items()} | dict(instead)
        root = folder.with_suffix('.lmdb')
        with package.open(str(root), map_size=2**24) as environment, environment.begin(write=True) as transaction:
            for name, value in values.items():
                if value is not None:
                    transaction.put(name.encode(), value)
        (root / 'meta_info.txt').write_text(''.join(f'{name}.png (1,1,3) 1\n' for name in names), encoding='utf-8')
        return root

    yield make
    lmdb.close()
