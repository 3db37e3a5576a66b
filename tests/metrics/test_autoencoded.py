import math

import pytest
import torch

from aesop.metrics import build_metric
from aesop.utils.images import quantise, to_y
from tests.golden import fill_, image

ARCH = {
    'type': 'AutoEncoder_RRDBNet',
    'enc_opt': {'num_feat': 48},
    'dec_opt': {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4},
}
SR, GT = image(2, 3, 32, 24, 0.4), image(2, 3, 32, 24)


def build(**arguments):
    metric = build_metric({'type': 'calculate_aepsnr_pytorch', 'autoencoder_arch': ARCH, **arguments})
    fill_(metric.ae)
    return metric


@pytest.mark.parametrize('y', [True, False])
def test_quantise_then_ae_then_crop_then_colour(y):
    metric = build(crop_border=4, test_y_channel=y)
    with torch.no_grad():
        a, b = (metric.ae(quantise(x))[..., 4:-4, 4:-4].double() for x in (SR, GT))
    if y:
        a, b = to_y(a), to_y(b)
    want = [10 * math.log10(1 / error) for error in (a - b).square().mean((1, 2, 3)).tolist()]
    assert metric(SR, GT).tolist() == pytest.approx(want, rel=1e-5)


def test_luma_is_the_default():
    assert build().protocol['colour'] == 'Y (BT.601)'


def test_identical_images():
    assert build()(GT, GT).tolist() == [float('inf')] * 2


def test_protocol_names_the_weights(tmp_path):
    torch.save({'params': build().ae.state_dict()}, tmp_path / 'ae.pth')
    load = {'path': str(tmp_path / 'ae.pth'), 'key': 'params'}
    protocol, again = (build(autoencoder_load=load).protocol for _ in range(2))
    assert protocol == again and protocol['autoencoder'] == 'AutoEncoder_RRDBNet'
    torch.save({'params': {k: v + 1 for k, v in build().ae.state_dict().items()}}, tmp_path / 'ae.pth')
    assert build(autoencoder_load=load).protocol['autoencoder_sha256'] != protocol['autoencoder_sha256']
