"""Going on: from this run's newest state, from a named one, from another run's; after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from aesop.archs import build_network

from .conftest import G
from .test_train import ROOT, same, stop_at, train, weights


def states(name='tiny'):
    return sorted(path.name for path in Path('experiments', name, 'training_states').iterdir())


def validations():
    return [json.loads(line)['iter'] for line in Path('experiments/tiny/metrics.jsonl').read_text().splitlines()]


def test_a_run_can_go_back_to_an_earlier_state_of_its_own(folder, options):
    options['logger']['keep_last'] = None
    assert train(options) == 0
    whole = weights()
    options['path']['resume_state'] = 'experiments/tiny/training_states/2.state'
    options['logger']['keep_last'] = 2
    assert train(options) == 0
    assert same(weights(), whole)
    assert states() == ['4.state', '4.state.aside', '6.state', '6.state.aside']
    assert validations() == [3, 6]


def test_another_runs_state_starts_a_folder_of_its_own(folder, options):
    assert train(options) == 0
    before = {path: path.read_bytes() for path in Path('experiments/tiny').rglob('*') if path.is_file()}
    options |= {'name': 'second', 'path': {'resume_state': 'experiments/tiny/training_states/4.state'}}
    assert train(options) == 0
    assert same(weights('second'), weights('tiny'))
    assert {path: path.read_bytes() for path in Path('experiments/tiny').rglob('*') if path.is_file()} == before
    assert train(options) == 0  # what the name held before is moved aside, not mixed with
    assert states('second') == ['6.state']
    assert len(list(Path('experiments').glob('second_archived_*'))) == 1


def test_auto_resume_prefers_the_runs_own_progress_to_the_named_state(folder, options, monkeypatch, capsys):
    assert train({**options, 'name': 'first'}) == 0
    options['path']['resume_state'] = 'experiments/first/training_states/2.state'
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        assert train(options, '--auto_resume') == 3
    assert 'going on from iteration 2 (experiments/first' in capsys.readouterr().out
    assert train(options, '--auto_resume') == 0
    assert 'going on from iteration 5 (experiments/tiny' in capsys.readouterr().out
    assert same(weights(), weights('first'))


def pretrained(name, **changes):
    torch.manual_seed(3)
    net = build_network({**G, **changes})
    torch.save({'params': net.state_dict()}, name)
    return net.state_dict()


def test_ignored_networks_keep_their_pretrained_weights(folder, adversarial):
    assert train({**adversarial, 'name': 'first'}) == 0
    old = torch.load('experiments/first/training_states/4.state', weights_only=True)['model']
    new = pretrained('g.pth')
    adversarial['path'] = {
        'pretrain_network_g': 'g.pth',
        'resume_state': 'experiments/first/training_states/4.state',
        'ignore_resume_networks': ['network_g'],
    }
    for optimiser in ('optim_g', 'optim_d'):
        adversarial['train'][optimiser]['lr'] = 0  # what is loaded stays as it is
    assert train(adversarial) == 0
    final = torch.load('experiments/tiny/training_states/6.state', weights_only=True)
    assert final['iter'] == 6
    for name in ('net_g', 'net_g_ema'):
        assert all(torch.allclose(tensor, new[key]) for key, tensor in final['model'][name].items())
    for key in ('linear2.weight', 'conv1_1.weight'):
        assert torch.equal(final['model']['net_d'][key], old['net_d'][key])
    steps = {name: final['model'][name]['state'][0]['step'].item() for name in ('optim_g', 'optim_d')}
    assert steps == {'optim_g': 2, 'optim_d': 6}  # a fresh optimiser for the fresh network


def test_a_gan_run_goes_on_from_a_psnr_run_when_the_discriminator_is_its_own(folder, options, adversarial):
    psnr = {**options, 'name': 'psnr', 'model_type': 'SRModel', 'network_d': None}
    psnr['train'] = {key: options['train'][key] for key in ('optim_g', 'ema_decay', 'total_iter')}
    psnr['train']['pixel_opt'] = {'type': 'L1Loss'}
    assert train(psnr) == 0
    adversarial['path']['resume_state'] = 'experiments/psnr/training_states/4.state'
    assert train(adversarial) == 2
    adversarial['path']['ignore_resume_networks'] = ['network_d']
    assert train(adversarial) == 0
    assert states() == ['6.state']


def test_an_interruption_does_not_bring_the_pretrained_weights_back(folder, options, monkeypatch):
    options['train']['total_iter'] = 8
    assert train({**options, 'name': 'first'}) == 0
    pretrained('g.pth', num_feat=12)
    options['network_g']['num_feat'] = 12
    options['path'] = {
        'pretrain_network_g': 'g.pth',
        'resume_state': 'experiments/first/training_states/4.state',
        'ignore_resume_networks': 'network_g',
    }
    assert train({**options, 'name': 'whole'}) == 0
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        assert train(options) == 3
    assert train(options, '--auto_resume') == 0
    assert same(weights(iteration=8), weights('whole', 8))


def test_resuming_with_another_network_is_refused_and_loses_nothing(folder, options, capsys):
    assert train(options) == 0
    before = sorted(path.name for path in folder.glob('experiments/tiny/*/*'))
    options['network_g']['num_feat'] = 12
    assert train(options, '--auto_resume') == 2
    assert 'another network' in capsys.readouterr().err
    assert sorted(path.name for path in folder.glob('experiments/tiny/*/*')) == before


def test_hyperparameters_are_those_of_the_options_even_when_resumed(folder, options):
    assert train(options) == 0
    options['train'] |= {'total_iter': 8, 'optim_g': {'type': 'Adam', 'lr': 0}}
    before = weights()['params']
    assert train(options, '--auto_resume') == 0
    assert all(torch.equal(tensor, before[key]) for key, tensor in weights(iteration=8)['params'].items())


def test_another_seed_is_said(folder, options, capsys):
    assert train(options) == 0
    options['manual_seed'] = 8
    options['train']['total_iter'] = 8
    assert train(options, '--auto_resume') == 0
    assert 'was made with manual_seed 7, from here on it is 8' in capsys.readouterr().out


@pytest.mark.parametrize('cut', ['{"iter": 3, "da', '{"iter": 6, "datasets": {}}'])
def test_validations_after_the_state_are_made_again(folder, options, monkeypatch, cut):
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        assert train(options) == 3
    with open('experiments/tiny/metrics.jsonl', 'a') as file:
        file.write(cut)
    assert train(options, '--auto_resume') == 0
    assert validations() == [3, 6]


def test_a_killed_run_goes_on_bit_for_bit(folder, options):
    options['train']['total_iter'] = 20
    options['datasets']['train']['num_worker_per_gpu'] = 1  # it outlives the run for a moment
    options['logger'] |= {'save_checkpoint_freq': 1, 'keep_last': 2}
    options['val']['val_freq'] = 7
    assert train({**options, 'name': 'whole'}) == 0
    Path('run.yml').write_text(yaml.safe_dump(options))
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, str(ROOT / 'train.py'), '-opt', 'run.yml']
    with open('said.txt', 'w') as said:  # not a pipe: the worker would keep it open
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
    reached = Path('experiments/tiny/models/net_g_9.pth')  # written before the state of that iteration
    while process.poll() is None and not reached.exists():
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL, Path('said.txt').read_text()
    Path('experiments/tiny/training_states/.99.state.tmp').write_bytes(b'half')  # as if killed while writing it
    assert train(options, '--auto_resume') == 0
    assert same(weights(iteration=20), weights('whole', 20))
    assert states() == ['19.state', '20.state']
    assert Path('experiments/tiny/metrics.jsonl').read_text() == Path('experiments/whole/metrics.jsonl').read_text()
