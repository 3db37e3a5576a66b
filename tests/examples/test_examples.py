"""The examples, on four small images and a small auto-encoder."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from aesop.archs import build_network
from aesop.archs.pretrained import save_pretrained
from aesop.utils.images import save_image
from tests.golden import fill_
from tests.losses.test_aesop import TINY_ARCH

EXAMPLES = Path(__file__).parents[2] / 'examples'


@pytest.mark.parametrize('name', ['plain_loop', 'accelerate_loop'])
def test_the_loss_falls(name, tmp_path, monkeypatch):
    if name == 'accelerate_loop':
        pytest.importorskip('accelerate')
    monkeypatch.syspath_prepend(EXAMPLES)
    y, x = np.mgrid[:40, :44]
    for n in range(4):
        save_image(tmp_path / f'{n}.png', np.stack([4 * x + n, 5 * y, 2 * (x + y)], -1).astype(np.uint8))
    torch.manual_seed(0)
    ae = tmp_path / 'ae.safetensors'
    save_pretrained(fill_(build_network(TINY_ARCH)), TINY_ARCH, ae)
    losses = importlib.import_module(name).train(tmp_path, steps=12, weights=str(ae), size=32, batch=4)
    assert len(losses) == 12 and losses[-1] < 0.7 * losses[0]
