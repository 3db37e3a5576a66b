"""The benchmarks on small networks: what they compare is equal, and their reports say what was measured."""

import argparse
import json
import math

import pytest
import torch

from aesop.archs import build_network
from aesop.archs.autoencoder import AutoEncoder
from aesop.archs.rrdbnet import RRDBNet
from aesop.benchmarks import inference, measure, plain, step
from aesop.benchmarks.lifelike import lifelike_
from aesop.losses import artifact_map
from tests.commands import command
from tests.golden import photograph

benchmark = command('benchmark')

RRDB = '{type: RRDBNet, num_feat: 16, num_block: 1, num_grow_ch: 4}'
AE = f'{{type: AutoEncoder_RRDBNet, enc_opt: {{num_feat: 48, num_block: 1}}, dec_opt: {RRDB}}}'
SMALL = ['datasets.train.gt_size=32', 'runtime.compile=false']
GAN = [*SMALL, f'network_g={RRDB}', 'network_d={type: VGGStyleDiscriminator, num_feat: 4, input_size: 32}']
PERCEPTUAL = 'train.perceptual_opt.layer_weights={conv1_2: 1}'
SETS = {
    'ae': [*SMALL, f'network_g={AE}'],
    'esrgan': [*GAN, PERCEPTUAL],
    'ldl': [*GAN, PERCEPTUAL],
    'aesop': [*GAN, PERCEPTUAL, f'train.aesop_opt.autoencoder_arch={AE}'],
}


@pytest.fixture
def quick(monkeypatch):
    """No processes of their own, and no second for each of the machine's rates."""
    monkeypatch.setattr(measure, 'product_rates', lambda *_: {'fp32 conv': 2e9, 'fp32 matmul': 1e9, 'bf16 conv': 4e9})
    for module in (step, inference):
        monkeypatch.setattr(module, 'in_own_process', lambda function, *args: (function(*args), 2_500_000))


@pytest.mark.parametrize('objective', SETS)
def test_plain_and_default_are_the_same_training(objective, tmp_path):
    parser = argparse.ArgumentParser()
    step.arguments(parser)
    args = parser.parse_args(['--objective', objective, '--steps', '3', '--set', *SETS[objective]])
    runs, timings = step.compare(step.describe(args, tmp_path), ['plain', 'default'])
    terms = runs['plain'].losses[0].keys()
    assert (
        terms
        == {
            'ae': {'l_pix', 'l_pix_at_LR'},
            'esrgan': {'l_g_pix', 'l_g_percep', 'l_g_gan', 'l_d_real', 'l_d_fake'},
            'ldl': {'l_g_pix', 'l_g_percep', 'l_g_gan', 'l_g_artifacts', 'l_d_real', 'l_d_fake'},
            'aesop': {'l_g_aesop', 'l_g_percep', 'l_g_gan', 'l_g_artifacts', 'l_d_real', 'l_d_fake'},
        }[objective]
    )
    assert all(len(run.losses) == 3 for run in runs.values())
    assert runs['plain'].losses[0] != runs['plain'].losses[2]
    assert step.difference(runs['default'], runs['plain']) < 1e-4
    assert runs['plain'].flop >= runs['default'].flop > 1e6
    assert len(timings['plain'].seconds) == len(timings['forward'].seconds) == 2


def test_the_report_of_a_step(quick, tmp_path, capsys):
    arguments = ['step', '-o', str(tmp_path), '--objective', 'ae', '--variants', 'plain', 'default', '--steps', '2']
    assert benchmark([*arguments, '--profile', '--set', *SETS['ae']]) == 0
    report = json.loads((tmp_path / 'step_ae_rrdb.json').read_text())
    assert report['command'].startswith('aesop benchmark step -o')
    assert report['environment']['torch'] == torch.__version__
    forward, first, default = report['tables']['Variants']
    assert [row['variant'] for row in (forward, first, default)] == ['forward', 'plain', 'default']
    assert first['forwards'] == pytest.approx(first['seconds'] / forward['seconds'])
    assert default['speed / plain'] == pytest.approx(first['seconds'] / default['seconds'])
    assert default['share of rate'] == pytest.approx(default['GFLOP/s'] / 2)
    assert default['peak GB'] == 0.0025
    assert first['+-'] is None  # of one round
    assert sum(row['share'] for row in report['tables']['Where the time goes: plain']) <= 1
    page = (tmp_path / 'step_ae_rrdb.md').read_text()
    assert page.startswith('# One iteration: train_ae_rrdb.yml\n')
    assert '| default | ' in page
    assert page in capsys.readouterr().out


def test_the_report_of_inference(quick, tmp_path):
    arguments = [
        'inference',
        '-o',
        str(tmp_path),
        '--size',
        '40',
        '36',
        '--tile',
        '16',
        '--overlap',
        '16',
        '--rounds',
        '1',
    ]
    arguments += ['--variants', 'plain', 'default', 'tiles', 'bf16', '--set', f'network_g={RRDB}']
    assert benchmark(arguments) == 0
    report = json.loads((tmp_path / 'inference_rrdb.json').read_text())
    rows = {row['variant']: row for row in report['tables']['Variants']}
    assert rows['plain']['difference'] == 0
    assert rows['default']['difference'] < 1e-3
    assert 0 < rows['tiles']['difference'] < 0.5
    assert 1e-3 < rows['bf16']['difference'] < 10
    assert (
        rows['tiles']['GFLOP/s'] * rows['tiles']['seconds'] > 1.2 * rows['plain']['GFLOP/s'] * rows['plain']['seconds']
    )


def test_a_recipe_that_does_not_exist_is_told(capsys):
    assert benchmark(['step', '--objective', 'ae', '--backbone', 'drct']) == 2
    assert 'no recipe of ae on drct; there is rrdb' in capsys.readouterr().err


def test_variants_are_timed_in_turn(monkeypatch):
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in 'ab'}
    timings = measure.interleave(functions, rounds=2, warmup=1, before=lambda: calls.append('|'))
    assert ''.join(calls) == '|ab|ba|ab'
    assert {name: len(timing.seconds) for name, timing in timings.items()} == {'a': 2, 'b': 2}


def test_median_and_spread():
    timing = measure.Timing([1.0, 2.0, 3.0, 4.0, 100.0])
    assert timing.median == 3
    assert timing.spread == pytest.approx((4 - 2) / 2 / 3)
    assert math.isnan(measure.Timing([1.0]).spread)


def grow(count):
    return len(bytearray(count)) + len(torch.ones(count // 4))


def test_peak_memory_is_that_of_the_function_alone():
    result, peak = measure.in_own_process(grow, 100_000_000)
    assert result == 125_000_000
    assert 90_000_000 < peak < 150_000_000


def test_products_are_counted():
    conv, x = torch.nn.Conv2d(3, 5, 3, padding=1), torch.rand(2, 3, 7, 6, requires_grad=True)
    with measure.FlopCounter() as counter:
        out = conv(x)
    assert counter.total == 2 * 3 * 5 * 9 * 2 * 7 * 6
    with measure.FlopCounter() as backward:
        out.sum().backward()
    assert backward.total == 2 * counter.total  # of the input and of the weights


def test_measured_rates_are_of_this_world():
    rates = measure.product_rates(seconds=0)
    assert set(rates) == {f'{precision} {kind}' for precision in ('fp32', 'bf16') for kind in ('matmul', 'conv')}
    assert all(math.isfinite(rate) and 1e6 < rate < 1e16 for rate in rates.values())


def test_numbers_in_tables(tmp_path):
    table = measure.Table('T', [{'a': 'x', 'b': 0.123456, 'c': 12345.6}, {'a': 2, 'c': math.nan}], 'Text.')
    assert table.markdown().splitlines()[-2:] == ['| x | 0.123 | 12,346 |', '| 2 |  |  |']
    measure.write(tmp_path, 'n', 'command', {'torch': '2'}, 'Title', 'About.', [table])
    assert json.loads((tmp_path / 'n.json').read_text())['tables']['T'][1] == {'a': 2, 'c': None}


def test_the_plain_artifact_map_is_the_same():
    gt, sr, sr_ema = photograph(3, 32), photograph(3, 32).sqrt(), photograph(3, 32).square()
    gradients = []
    for form in (plain.artifact_map, artifact_map):
        leaf = sr.clone().requires_grad_()
        weights = form(gt, leaf, sr_ema)
        (weights * leaf).sum().backward()
        gradients.append((weights, leaf.grad))
    for a, b in zip(*gradients):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * a.abs().max().item())


@pytest.mark.parametrize('kind', ['RRDBNet', 'AutoEncoder', 'SwinIR', 'DRCT'])
def test_lifelike_networks_keep_the_image(kind):
    torch.manual_seed(0)
    window = {'upscale': 4, 'img_size': 8, 'window_size': 4, 'depths': [2], 'embed_dim': 12, 'num_heads': [2]}
    rrdb = {'type': 'RRDBNet', 'num_feat': 48, 'num_block': 1, 'num_grow_ch': 8}
    net = {
        'RRDBNet': lambda: RRDBNet(num_feat=16, num_block=1, num_grow_ch=4),
        'AutoEncoder': lambda: AutoEncoder(rrdb),
        'SwinIR': lambda: build_network(window | {'type': 'SwinIR', 'upsampler': 'pixelshuffle'}),
        'DRCT': lambda: build_network(window | {'type': 'DRCT', 'gc': 4}),
    }[kind]()
    x = photograph(1, 64 if kind == 'AutoEncoder' else 16)
    with torch.no_grad():
        out = lifelike_(net.eval())(x)
    blurred = torch.nn.functional.avg_pool2d(x, 4) if kind == 'AutoEncoder' else x
    nearest = blurred.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert 0 < (out - nearest).abs().mean() < 0.1
    assert all(p.isfinite().all() for p in net.parameters())


def test_help_names_the_variants(capsys):
    with pytest.raises(SystemExit):
        benchmark(['step', '--help'])
    assert 'bf16_compile' in capsys.readouterr().out
