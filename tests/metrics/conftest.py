import pytest
import torch
from skimage import data

from aesop.utils.images import to_tensor


@pytest.fixture(scope='session')
def photograph():
    """(3, 96, 120) of a real photograph in [0, 1]."""
    return to_tensor(data.chelsea())[:, 60:156, 120:240].contiguous()


@pytest.fixture(scope='session')
def noisy(photograph):
    noise = torch.randn(photograph.shape, generator=torch.Generator().manual_seed(0))
    return photograph + 0.05 * noise
