import csv
from pathlib import Path

import pytest
import yaml

from aesop.cli.runs import main
from aesop.errors import UserError
from aesop.reporting.trajectories import draw_trajectories, read_losses, running_mean, trajectories

pytestmark = pytest.mark.usefixtures('coarse')

LINE = '2026-01-01 00:00:00,000 INFO: iter {}/600 | lr 1.00e-04 1.00e-04 | 2.00 it/s, eta 0:00:01, data 1 % | {}\n'


def run_of(folder, logs, **train):
    folder.mkdir()
    (folder / 'options.yml').write_text(yaml.safe_dump({'name': 'run', 'scale': 4, 'train': train}))
    for name, entries in logs.items():
        lines = [LINE.format(iteration, terms) for iteration, terms in entries]
        (folder / f'train_{name}.log').write_text(''.join(['an earlier message\n', *lines]))
    return folder


def test_a_resumed_run_is_one_curve(tmp_path):
    run = run_of(
        tmp_path / 'run',
        {
            '20260101_000000': [
                (100, 'l_g_pix 1.0e-03  l_g_gan 2.0e-02'),
                (200, 'l_g_pix 2.0e-03'),
                (300, 'l_g_pix 9'),
            ],
            '20260102_000000': [(200, 'l_g_pix 4.0e-03  l_d_real 1')],
        },
    )
    assert read_losses(run) == {'l_g_pix': {100: 0.001, 200: 0.004}, 'l_g_gan': {100: 0.02}, 'l_d_real': {200: 1}}


def test_weights_are_taken_out(tmp_path):
    logs = {'20260101_000000': [(100, 'l_g_pix 1.0e-03  l_g_aesop 5.0e-03')]}
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


def test_what_holds_no_losses_is_told(tmp_path):
    with pytest.raises(UserError, match='holds no log of a training'):
        trajectories(tmp_path)
    with pytest.raises(UserError, match='neither a pixel loss nor L_AESOP, only l_g_gan'):
        trajectories(run_of(tmp_path / 'run', {'20260101_000000': [(1, 'l_g_gan 1')]}))
