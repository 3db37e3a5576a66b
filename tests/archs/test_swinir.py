from aesop.archs.swinir import SwinIR

TINY = {'img_size': 8, 'window_size': 4, 'embed_dim': 8, 'num_heads': [2, 2], 'depths': [2, 3]}


def test_every_second_block_is_shifted_from_the_second_on():
    net = SwinIR(**TINY)
    assert [[b.shift for b in layer.residual_group['blocks']] for layer in net.layers] == [[0, 2], [0, 2, 0]]


def test_stochastic_depth_rises_linearly_over_all_blocks():
    net = SwinIR(**TINY, drop_path_rate=0.4)
    rates = [block.drop_path for layer in net.layers for block in layer.residual_group['blocks']]
    assert [round(rate, 9) for rate in rates] == [0, 0.1, 0.2, 0.3, 0.4]
