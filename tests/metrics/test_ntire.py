import pytest
import torch

from aesop.metrics import build_metric, ntire
from aesop.metrics.ntire import PROTOCOLS, ntire_score
from tests.tiny import backbones  # noqa: F401  (a fixture)


def test_the_formula():
    parts = {'lpips': 0.2, 'dists': 0.1, 'clipiqa': 0.7, 'maniqa': 0.5, 'musiq': 65.0, 'niqe': 4.0}
    tensors = {name: torch.tensor([value, value]) for name, value in parts.items()}
    assert ntire_score(**tensors).tolist() == pytest.approx([0.8 + 0.9 + 0.7 + 0.5 + 0.65 + 0.6] * 2)
    tensors['niqe'] = torch.tensor([12.0, 4.0])  # worse than 10 counts as 10
    assert ntire_score(**tensors).tolist() == pytest.approx([3.55, 4.15])


@pytest.mark.usefixtures('backbones')
def test_it_is_made_of_the_metrics_here():
    torch.manual_seed(0)
    sr, gt = torch.rand(2, 3, 200, 200), torch.rand(2, 3, 200, 200)
    metric = build_metric({'type': 'NTIREScore', 'crop_border': 4})
    parts = {
        name: build_metric({**block, 'crop_border': 4})(sr, gt).double()
        for name, block in PROTOCOLS['ntire'].items()
        if name != 'ntire'
    }
    torch.testing.assert_close(metric(sr, gt), ntire_score(**parts))
    assert 'gt' in metric.needs and metric.min_side == 192
    assert metric.protocol['parts'].keys() == parts.keys() and metric.protocol['crop_border'] == 4
    assert ntire.NTIREScore.higher_is_better
