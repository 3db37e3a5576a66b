import pytest

from aesop.reporting.labels import axis_label, better_of, digits_of, label_of


@pytest.mark.parametrize(
    ('metric', 'label', 'better', 'digits'),
    [
        ('psnr', 'PSNR', 'higher', 3),
        ('LPIPS', 'LPIPS', 'lower', 4),
        ('lr_psnr', 'LR-PSNR', 'higher', 3),
        ('calculate_dists', 'DISTS', 'lower', 4),
        ('patch_fid', 'pFID', 'lower', 3),
        ('mine', 'mine', None, 4),
    ],
)
def test_metrics_get_the_papers_names(metric, label, better, digits):
    assert (label_of(metric), better_of(metric), digits_of(metric)) == (label, better, digits)
    assert axis_label(metric) == (f'{label} ({better} is better)' if better else label)
