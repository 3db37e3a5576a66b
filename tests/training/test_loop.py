"""The loop as a user runs it: through the command line, in a folder of its own."""

import contextlib
import copy
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from aesop.cli.runs import main
from aesop.errors import UserError
from aesop.evaluation.evaluate import evaluate
from aesop.metrics.psnr_ssim import PSNR
from aesop.models.gradient_step import GradientStep
from aesop.options import load_options
from tests.runs import AE, G

ROOT = Path(__file__).parents[2]


def train(options, *arguments, file='run.yml'):
    Path(file).write_text(yaml.safe_dump(options))
    return main('train', ['-opt', file, *arguments])


def weights(name='tiny', iteration=6, root='experiments'):
    path = Path(root) / name / 'models' / f'net_g_{iteration}.pth'
    return torch.load(path, weights_only=True)


def same(a, b):
    return all(torch.equal(a[kind][name], b[kind][name]) for kind in a for name in a[kind])


def test_a_run_leaves_weights_states_numbers_and_its_own_description(folder, options):
    options['logger']['use_tb_logger'] = True
    options['val']['save_img'] = True
    assert train(options) == 0
    run = folder / 'experiments/tiny'
    saved = weights()
    assert saved.keys() == {'params', 'params_ema'}
    assert 'body.0.rdb1.conv1.weight' in saved['params']
    assert not torch.equal(saved['params']['conv_first.weight'], saved['params_ema']['conv_first.weight'])
    lines = [json.loads(line) for line in (run / 'metrics.jsonl').read_text().splitlines()]
    assert [line['iter'] for line in lines] == [3, 6]
    assert 0 < lines[0]['datasets']['textures']['psnr'] < 60
    assert len(list(run.glob('visualization/textures/*_6.png'))) == 3
    assert load_options(run / 'options.yml') == load_options('run.yml')
    packages = json.loads((run / 'run.json').read_text())['packages']
    assert torch.__version__.startswith(packages['torch'])
    log = next(run.glob('*.log')).read_text()
    assert 'l_pix' in log and 'done: 6 iterations' in log
    assert list((folder / 'tb_logger/tiny').iterdir())
    assert sorted(path.stem for path in (run / 'training_states').iterdir()) == ['2', '4', '6']


def test_only_the_last_states_are_kept(folder, options):
    options['logger']['keep_last'] = 1
    assert train(options) == 0
    assert [path.name for path in (folder / 'experiments/tiny/training_states').glob('*')] == ['6.state']


def test_the_best_weights_are_kept(folder, options):
    options['val']['val_freq'] = 1
    assert train(options) == 0
    lines = (folder / 'experiments/tiny/metrics.jsonl').read_text().splitlines()
    values = {(entry := json.loads(line))['iter']: entry['datasets']['textures']['psnr'] for line in lines}
    best = max(values, key=values.get)
    state = torch.load(folder / 'experiments/tiny/training_states/6.state', weights_only=True)
    assert state['best']['iter'] == best and state['best']['value'] == values[best]
    assert weights(iteration='best').keys() == {'params', 'params_ema'}


def stop_at(monkeypatch, iteration, number=signal.SIGTERM):
    """Has the process told to stop in the middle of an iteration, once."""
    end = GradientStep.end

    def told(descent, terms, count=[0]):  # noqa: B006
        count[0] += 1
        if count[0] == iteration:
            os.kill(os.getpid(), number)
        return end(descent, terms)

    monkeypatch.setattr(GradientStep, 'end', told)


@pytest.mark.parametrize(('kind', 'iteration', 'workers'), [
    ('psnr', 1, 0), ('psnr', 5, 1), ('psnr', 3, 3), ('ae', 3, 0), ('ae', 1, 1), ('ae', 4, 3),
    ('aesop', 2, 0), ('aesop', 5, 1), ('aesop', 3, 3),
])  # fmt: skip
@pytest.mark.filterwarnings('ignore:This DataLoader will create')  # more workers than cores
def test_a_run_stopped_by_a_signal_goes_on_bit_for_bit(
    folder, options, adversarial, monkeypatch, kind, iteration, workers
):
    options = copy.deepcopy(adversarial if kind == 'aesop' else options)
    if kind != 'aesop':
        options['model_type'] = 'SRModel' if kind == 'psnr' else 'AEModel'
        options['network_g'] = dict(G) if kind == 'psnr' else AE
        options.pop('network_d', None)
        options['train'] = {k: options['train'][k] for k in ('ema_decay', 'optim_g', 'total_iter')}
        options['train']['pixel_opt'] = {'type': 'L1Loss'}
    if kind == 'ae':
        options['train'] |= {'pixel_at_LR_opt': {'type': 'L1Loss'}, 'freeze_decoder': 2}
    options['train']['scheduler'] = {'type': 'CosineAnnealingRestartLR', 'periods': [6], 'eta_min': 1e-5}
    options['datasets']['train']['num_worker_per_gpu'] = workers
    options['val']['val_freq'] = 2
    assert train({**options, 'name': 'whole'}, file='whole.yml') == 0
    with monkeypatch.context() as patch:
        stop_at(patch, iteration)
        assert train(options) == 3
    assert train(options, '--auto_resume') == 0
    assert same(weights(), weights('whole'))
    whole, resumed = (Path(f'experiments/{name}/metrics.jsonl').read_text() for name in ('whole', 'tiny'))
    assert whole == resumed


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGUSR1])
def test_ctrl_c_and_the_signal_of_slurm_save_too(folder, options, monkeypatch, number):
    stop_at(monkeypatch, 1, number)
    assert train(options) == 3
    assert (folder / 'experiments/tiny/training_states/1.state').exists()


def test_a_damaged_state_is_passed_over(folder, options, monkeypatch, capsys):
    assert train({**options, 'name': 'whole'}, file='whole.yml') == 0
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        assert train(options) == 3
    newest = folder / 'experiments/tiny/training_states/5.state'
    newest.write_bytes(newest.read_bytes()[:2000])
    assert train(options, '--auto_resume') == 0
    output = capsys.readouterr().out
    assert '5.state' in output and 'resuming from iteration 4' in output
    assert same(weights(), weights('whole'))


def test_a_worker_that_torchrun_restarts_resumes_its_own_run_and_no_other(folder, options, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        assert train(options) == 3
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '1')
    assert train(options) == 0
    assert 'resuming from iteration 3' in capsys.readouterr().out
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'another launch')
    assert train(options) == 0
    assert 'going on' not in capsys.readouterr().out
    assert len(list((folder / 'experiments').glob('tiny_archived_*'))) == 1


def test_a_validation_that_fails_names_the_image_and_loses_nothing(folder, options, monkeypatch, capsys):
    def wrong(self, sr, gt):
        raise UserError('no score')

    monkeypatch.setattr(PSNR, 'score', wrong)
    assert train(options) == 2
    assert 'data set textures, image 0: no score' in capsys.readouterr().err
    assert (folder / 'experiments/tiny/training_states/3.state').exists()


def test_a_value_that_is_no_number_is_never_the_best(folder, options, monkeypatch):
    values = iter([math.nan, 20.0])
    monkeypatch.setattr(PSNR, 'score', lambda self, sr, gt, value=None: torch.full((1,), self.value))

    def evaluate_with(*arguments):
        PSNR.value = next(values)
        return evaluate(*arguments)

    monkeypatch.setattr('aesop.training.loop.evaluate', evaluate_with)
    assert train(options) == 0
    state = torch.load(folder / 'experiments/tiny/training_states/6.state', weights_only=True)
    assert (state['best']['iter'], state['best']['value']) == (6, 20.0)


def test_an_earlier_run_is_moved_aside_not_overwritten(folder, options):
    assert train(options) == 0
    first = weights()
    options['manual_seed'] = 8
    assert train(options) == 0
    aside = next((folder / 'experiments').glob('tiny_archived_*'))
    assert same(first, torch.load(aside / 'models/net_g_6.pth', weights_only=True))
    assert not same(first, weights())


def test_a_run_that_is_alive_is_not_touched(folder, options, capsys):
    from aesop.run.experiment import lock

    handle = lock(folder / 'experiments/tiny')
    assert train(options) == 2
    assert 'in use by another run' in capsys.readouterr().err
    handle.close()
    assert train(options) == 0


def test_everything_that_is_missing_is_named_at_once_before_anything_is_written(folder, options, capsys):
    options['datasets']['train']['dataroot_gt'] = 'nowhere'
    options['datasets']['val']['dataroot_gt'] = 'neither'
    options['path'] = {'pretrain_network_g': 'none.pth'}
    assert train(options) == 2
    message = capsys.readouterr().err
    for name in ('nowhere', 'neither', 'none.pth', 'datasets/README.md', 'experiments/README.md'):
        assert name in message
    assert not (folder / 'experiments').exists()


def test_debug_tries_everything_in_a_few_iterations(folder, options):
    options['train']['total_iter'] = 100000
    assert train(options, '--debug') == 0
    assert weights('debug_tiny', 4).keys() == {'params', 'params_ema'}


def test_debug_tries_everything_of_a_gan_run_too(folder, adversarial):
    adversarial['name'] = 'tiny: #1'
    adversarial['train'] |= {'total_iter': 300000, 'net_d_init_iters': 1000, 'warmup_iter': 500}
    adversarial['train']['losses'] = {'tv': {'type': 'WeightedTVLoss', 'loss_weight': 1e-3}}
    adversarial['val'] |= {'val_freq': 5000, 'val_start_iter': 100000, 'save_img': True}
    assert train(adversarial, '--debug') == 0
    run = folder / 'experiments/debug_tiny: #1'
    log = next(run.glob('*.log')).read_text()
    terms = ('l_g_aesop', 'l_g_artifacts', 'l_g_tv', 'l_g_gan', 'l_d_real', 'l_d_fake', 'out_d_real', 'out_d_fake')
    assert [term for term in terms if log.count(term) != 4] == []
    assert log.count('lr 1.00e-03') == 4
    assert len(list(run.glob('visualization/textures/*_2.png'))) == 2
    assert sorted(path.name for path in run.glob('models/*_4.pth')) == ['net_d_4.pth', 'net_g_4.pth']
    assert train(adversarial, '--debug', '--set', 'name=ae', 'model_type=AEModel', f'network_g={AE}', 'network_d=~',
                 'train={optim_g: {type: Adam, lr: 1e-3}, freeze_decoder: 10000, total_iter: 9999, '
                 'pixel_opt: {type: L1Loss}}') == 0  # fmt: skip
    two, four = (weights('debug_ae', iteration)['params'] for iteration in (2, 4))
    assert not torch.equal(two['decoder.conv_last.weight'], four['decoder.conv_last.weight'])


def torchrun(*arguments, ranks=2, restarts=0):
    """Runs a script on several ranks; (exit code, what it said). Nothing of it outlives the call."""
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={ranks}']
    command += [f'--max-restarts={restarts}', *arguments]
    environment = {'PYTHONPATH': str(ROOT), **os.environ, 'OMP_NUM_THREADS': '1'}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        said, _ = process.communicate(timeout=600)
    finally:
        process.terminate()  # torchrun then ends its ranks, which are in sessions of their own
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, said


def test_two_ranks_equal_one_with_twice_the_batch(folder, options):
    options['val']['metrics']['ssim'] = {'type': 'calculate_ssim', 'crop_border': 4}
    options['datasets']['train']['batch_size_per_gpu'] = 4
    assert train({**options, 'name': 'one'}, file='one.yml') == 0
    options['datasets']['train']['batch_size_per_gpu'] = 2
    Path('two.yml').write_text(yaml.safe_dump({**options, 'name': 'two'}))
    code, said = torchrun(str(ROOT / 'train.py'), '-opt', 'two.yml', '--launcher', 'pytorch')
    assert code == 0, said
    one, two = weights('one'), weights('two')
    for kind in one:
        for name in one[kind]:
            assert torch.allclose(one[kind][name], two[kind][name], atol=2e-5), name
    lines = [Path(f'experiments/{name}/metrics.jsonl').read_text().splitlines() for name in ('one', 'two')]
    for a, b in zip(*lines):
        a, b = json.loads(a)['datasets']['textures'], json.loads(b)['datasets']['textures']
        assert a == pytest.approx(b, abs=1e-3)


def test_much_waiting_for_data_is_told_with_what_to_change(folder, options, monkeypatch, capsys):
    shares = iter([0.9, 0.05, 0.11, 0.6, 0.7, 0.2])  # the first has the workers' start in it
    monkeypatch.setattr('aesop.training.clock.Clock.lap', lambda clock, iteration: (1.0, next(shares)))
    options['logger']['print_freq'] = 1
    assert train(options) == 0
    told = [line.split('WARNING: ')[1] for line in capsys.readouterr().out.splitlines() if 'WARNING' in line]
    advice = 'set cache: disk, so that no image is decoded twice, or raise num_worker_per_gpu (now 0)'
    assert told == [f'60 % of the time is spent waiting for data: in datasets.train, {advice}']


def test_a_cached_run_is_the_same_run(folder, options):
    assert train(options) == 0
    options['name'] = 'cached'
    options['datasets']['train'] |= {'cache': 'disk', 'num_worker_per_gpu': 2}
    assert train(options) == 0
    assert len(list((folder / 'datasets/.cache').glob('*.npy'))) == 1
    assert same(weights(), weights('cached'))


@pytest.mark.parametrize('cache', ['none', 'disk'])
def test_a_bad_image_ends_a_run_or_is_skipped(folder, options, capsys, cache):
    png = Path('train/3.png').read_bytes()
    Path('train/3.png').write_bytes(png[: len(png) // 2])
    options['datasets']['train']['cache'] = cache
    assert train(options) == 2
    assert 'train/3.png: the file is not an 8- or 16-bit image, or is damaged or truncated' in capsys.readouterr().err
    options['datasets']['train']['on_error'] = 'skip'
    assert train(options) == 0
    said = capsys.readouterr().out
    assert 'on_error: skip ignores train/3.png' in said and said.count('skipped (1 of at most 1): train/3.png') == 1
    Path('train/2.png').write_bytes(b'')
    assert train({**options, 'name': 'worse'}) == 2
    said = capsys.readouterr().err
    assert 'train/2.png' in said and 'train/3.png' in said


def test_a_run_that_does_not_get_better_ends(folder, options, monkeypatch):
    scores = iter([20.0, *[10.0] * 100])
    monkeypatch.setattr(PSNR, 'summary', lambda self, images: next(scores))
    options['val'] |= {'val_freq': 1, 'patience': 2}
    assert train(options) == 0
    state = torch.load(folder / 'experiments/tiny/training_states/3.state', weights_only=True)
    assert (state['iter'], state['best']['iter']) == (3, 1)
    assert (
        'stopped early at iteration 3: no improvement since the validation at 1'
        in next((folder / 'experiments/tiny').glob('*.log')).read_text()
    )


def test_a_schedule_free_run_goes_on_as_if_it_had_not_stopped(folder, options):
    pytest.importorskip('pytorch_optimizer')
    options['train'] |= {'ema_decay': 0, 'optim_g': {'type': 'ScheduleFreeAdamW', 'lr': 1e-3}}
    assert train(options) == 0
    whole = weights()
    options['name'] = 'halves'
    options['train']['total_iter'] = 4
    assert train(options) == 0
    options['train']['total_iter'] = 6
    assert train(options, '--auto_resume') == 0
    assert same(weights('halves'), whole)


def test_a_run_on_sets_that_are_mixed_augmented_and_degraded(folder, options):
    train_set = options['datasets']['train']
    block = {key: train_set[key] for key in ('batch_size_per_gpu', 'num_worker_per_gpu', 'gt_size')}
    inner = {'type': 'BicubicImageDataset', 'dataroot_gt': train_set['dataroot_gt']}
    steps = [{'type': 'blur'}, {'type': 'jpeg', 'prob': 0.5}]
    parts = [
        {'type': 'AugmentedDataset', 'dataset': inner, 'augmentations': {'cutmix': 0.5}},
        {'type': 'DegradedDataset', 'dataset': inner, 'steps': steps, 'margin': 0},
    ]
    options['datasets']['train'] = block | {'type': 'MixedDataset', 'parts': parts, 'ratios': [1, 1]}
    assert train(options) == 0
    assert all(tensor.isfinite().all() for tensor in weights()['params'].values())
    options['datasets']['train']['gt_size'] = 30  # no multiple of the scale
    assert train(options) == 2
