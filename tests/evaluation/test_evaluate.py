from aesop.evaluation.evaluate import build_metrics
from aesop.options import load_options


def test_data_sets_share_equal_metrics(options):
    own = {'p': {'type': 'calculate_psnr', 'crop_border': 0, 'test_y_channel': True}}
    block = options['datasets']['val']
    options['datasets'] |= {'val_2': dict(block), 'val_3': block | {'metrics': own}}
    metrics = build_metrics(load_options(options), ['val', 'val_2', 'val_3'], 'cpu')
    assert [list(used) for used in metrics.values()] == [['psnr'], ['psnr'], ['p']]
    assert metrics['val']['psnr'] is metrics['val_2']['psnr']
    assert [metrics[key][name].crop_border for key, name in (('val', 'psnr'), ('val_3', 'p'))] == [4, 0]
