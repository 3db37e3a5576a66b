import torch

from aesop.archs.drct import DRCT
from tests.golden import fill_, image

TINY = {'img_size': 8, 'window_size': 4, 'embed_dim': 12, 'num_heads': [6, 6], 'depths': [6, 6], 'gc': 8}


def test_widths_heads_and_shifts_of_a_group():
    blocks = [getattr(DRCT(**TINY).layers[0], f'swin{i}') for i in range(1, 6)]
    assert [block.norm1.normalized_shape[0] for block in blocks] == [12, 20, 28, 36, 44]
    assert [block.attn.num_heads for block in blocks] == [6, 4, 2, 6, 4]
    assert [block.shift for block in blocks] == [0, 2, 0, 2, 0]
    assert [block.mlp.fc1.out_features for block in blocks] == [24, 40, 56, 36, 44]


def test_keys_of_published_option_files_that_mean_nothing():
    x = image(1, 3, 8, 8)
    plain = fill_(DRCT(**TINY))
    with_keys = fill_(DRCT(**TINY, compress_ratio=9, squeeze_factor=9, conv_scale=9.0, overlap_ratio=9.0))
    assert torch.equal(plain(x), with_keys(x))


def test_stochastic_depth_rises_from_group_to_group():
    net = DRCT(**TINY, drop_path_rate=0.11)
    assert [round(layer.swin3.drop_path, 9) for layer in net.layers] == [0, 0.06]
