import csv
import math
from pathlib import Path

import pytest
import yaml

from aesop.cli.runs import main
from aesop.errors import UserError
from aesop.reporting.trajectories import draw_trajectories, read_losses, running_mean, trajectories
from aesop.utils.jsonl import JSONLWriter

pytestmark = pytest.mark.usefixtures('coarse')


def run_of(folder, entries, **train):
    folder.mkdir()
    (folder / 'options.yml').write_text(yaml.safe_dump({'name': 'run', 'scale': 4, 'train': train}))
    lines = JSONLWriter(folder / 'train.jsonl')
    for iteration, losses in entries.items():
        lines.add({'iter': iteration, 'losses': losses, 'lr': {'g': 1e-4}, 'rate': 2.0, 'waited': 0.01})
    return folder


def test_each_loss_is_a_curve(tmp_path):
    nan = float('nan')
    run = run_of(tmp_path / 'run', {100: {'l_g_pix': 1e-3, 'l_g_gan': 2e-2}, 200: {'l_g_pix': 4e-3, 'l_d_real': nan}})
    losses = read_losses(run)
    assert math.isnan(losses.pop('l_d_real')[200])
    assert losses == {'l_g_pix': {100: 0.001, 200: 0.004}, 'l_g_gan': {100: 0.02}}


def test_weights_are_taken_out(tmp_path):
    logs = {100: {'l_g_pix': 1e-3, 'l_g_aesop': 5e-3}}
    pixel = {'type': 'L1Loss', 'loss_weight': 0.01}
    aesop = {
        'type': 'AutoEncoderLoss',
        'autoencoder_arch': {'type': 'AutoEncoder_RRDBNet', 'dec_opt': {'type': 'RRDBNet'}},
    }
    curves = trajectories(run_of(tmp_path / 'run', logs, pixel_opt=pixel, aesop_opt=aesop))
    values = {name: next(iter(curve.values())) for name, curve in curves.items()}
    assert values == {
        '$L_{pix}$': pytest.approx(0.1),
        '0.01 $L_{pix}$': pytest.approx(0.001),
        '$L_{AESOP}$': pytest.approx(0.005),
    }


def test_it_reads_what_a_training_writes(inputs, capsys):
    data = {'name': 'photographs', 'type': 'BicubicImageDataset', 'dataroot_gt': 'gt', 'gt_size': 32}
    with open('tiny.yml') as file:
        options = yaml.safe_load(file) | {'datasets': {'train': data | {'batch_size_per_gpu': 1}}}
    options['train'] = {'optim_g': {'type': 'Adam', 'lr': 1e-4}, 'total_iter': 4}
    options['train']['pixel_opt'] = {'type': 'L1Loss', 'loss_weight': 0.5}
    options['logger'] = {'print_freq': 2, 'use_tb_logger': False}
    Path('train.yml').write_text(yaml.safe_dump(options))
    assert main('train', ['-opt', 'train.yml']) == 0
    curves = trajectories('experiments/tiny')
    assert list(curves) == ['$L_{pix}$', '0.5 $L_{pix}$'] and list(curves['$L_{pix}$']) == [2, 4]
    assert f'l_pix {curves["0.5 $L_{pix}$"][4]:.4e}' in capsys.readouterr().out


def test_the_figure_comes_with_its_numbers(tmp_path):
    runs = {'a': {'$L_{pix}$': {1: 0.1, 2: 0.3}}, 'b': {'$L_{AESOP}$': {1: 0.02, 2: 0.01}}}
    written = draw_trajectories(runs, tmp_path / 'curves', smooth=2)
    assert [path.suffix for path in written] == ['.png', '.pdf', '.csv']
    assert list(csv.reader(written[2].open()))[1:3] == [
        ['a', 'L_{pix}', '1', '0.1', '0.1'],
        ['a', 'L_{pix}', '2', '0.3', '0.2'],
    ]


def test_running_mean():
    assert running_mean([1, 3, 5, 7], 2) == [1, 2, 4, 6]
    assert running_mean([1, 3], 1) == [1, 3]


def test_a_folder_without_losses_is_an_error(tmp_path):
    with pytest.raises(UserError, match='no training losses'):
        trajectories(tmp_path)
    with pytest.raises(UserError, match='neither a pixel loss nor L_AESOP was logged, only l_g_gan'):
        trajectories(run_of(tmp_path / 'run', {1: {'l_g_gan': 1.0}}))
