"""Going on: from this run's newest state, from a named one, from another run's; after a kill."""

import json
import os
import shutil
import threading
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from aesop.archs import build_network
from aesop.models import SRModel
from aesop.options import load_options
from aesop.registry import LOSSES
from aesop.run.experiment import Experiment
from aesop.utils import checkpoint
from aesop.utils.jsonl import JSONLWriter
from tests.runs import G
from tests.training.test_loop import same, stop_at, train, weights


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
    assert 'resuming from iteration 2 (experiments/first' in capsys.readouterr().out
    assert train(options, '--auto_resume') == 0
    assert 'resuming from iteration 5 (experiments/tiny' in capsys.readouterr().out
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
    assert 'a different network' in capsys.readouterr().err
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
    assert 'manual_seed was 7 and is now 8' in capsys.readouterr().out


@pytest.mark.parametrize('cut', ['{"iter": 3, "da', '{"iter": 6, "datasets": {}}'])
def test_validations_after_the_state_are_made_again(folder, options, monkeypatch, cut):
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        assert train(options) == 3
    with open('experiments/tiny/metrics.jsonl', 'a') as file:
        file.write(cut)
    assert train(options, '--auto_resume') == 0
    assert validations() == [3, 6]


def experiment(**changes):
    return Experiment(load_options(yaml.safe_load(Path('run.yml').read_text()) | changes))


@pytest.fixture
def two_states(folder, options):
    """The files of two states of a run, 2.state and 4.state."""
    options['train']['total_iter'] = 4
    assert train(options) == 0
    return [Path('experiments/tiny/training_states', name) for name in ('2.state', '4.state')]


def test_a_state_cut_off_anywhere_is_named_and_passed_over(two_states, caplog):
    whole = two_states[1].read_bytes()
    for tenth in range(10):
        two_states[1].write_bytes(whole[: len(whole) * tenth // 10])
        caplog.clear()
        assert experiment().newest_state()['iter'] == 2
        assert '4.state is damaged' in caplog.text and 'trying the previous state' in caplog.text


def test_a_flipped_bit_is_noticed_wherever_it_matters(two_states, caplog):
    whole = two_states[1].read_bytes()
    wanted = experiment().newest_state()
    rng, refused = np.random.default_rng(0), 0
    for place in rng.integers(0, len(whole), 40):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        two_states[1].write_bytes(damaged)
        caplog.clear()
        state = experiment().newest_state()
        if state['iter'] == 2:
            refused += 1
            assert '4.state is damaged' in caplog.text or '4.state is refused' in caplog.text
        else:  # in the padding between two tensors
            assert same_state(state, wanted)
    assert refused > 20


def same_state(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_state(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same_state, a, b))
    return a == b


def test_a_run_whose_states_are_all_damaged_does_not_start_afresh_in_silence(two_states, options, capsys):
    for path in two_states:
        path.write_bytes(b'')
    assert train(options, '--auto_resume') == 2
    said = capsys.readouterr().err
    assert '2.state is damaged' in said and '4.state is damaged' in said and 'pretrain_network_g' in said
    assert states() == ['2.state', '4.state']


def test_the_state_of_another_run_is_noticed(folder, options, capsys):
    assert train({**options, 'name': 'other', 'network_g': {**G, 'num_feat': 12}}) == 0
    assert train(options) == 0
    shutil.copy('experiments/other/training_states/6.state', 'experiments/tiny/training_states/6.state')
    assert train(options, '--auto_resume') == 2
    assert 'num_feat was 12 and is now 8: that is a different network' in capsys.readouterr().err
    assert train(options, '--auto_resume', '--force') == 2
    assert 'the state does not match this net_g' in capsys.readouterr().err


def test_force_goes_on_with_changed_options_that_fit(folder, options, capsys):
    assert train(options) == 0
    options['train']['total_iter'], options['model_type'] = 8, 'RealESRNetModel'
    assert train(options, '--auto_resume') == 2
    assert 'model_type was SRModel' in capsys.readouterr().err
    assert train(options, '--auto_resume', '--force') == 0
    assert 'train.total_iter was 6 and is now 8' in capsys.readouterr().out


def test_on_another_number_of_ranks_the_samples_go_on(folder, options, monkeypatch, capsys):
    options['train']['total_iter'] = 4
    assert train(options) == 0
    path = Path('experiments/tiny/training_states/4.state')
    state = torch.load(path, weights_only=True)
    state |= {'random': state['random'] * 2, 'pools': state['pools'] * 2, 'samples': 16}  # as if two ranks had saved it
    torch.save(state, path)
    options['train'] |= {'total_iter': 6, 'accumulate': 2}
    seen = []
    step = SRModel.step
    monkeypatch.setattr(
        SRModel, 'step', lambda self, batch, n: (seen.append(batch['index'].tolist()), step(self, batch, n))[1]
    )
    assert train(options, '--auto_resume') == 0
    assert 'saved by 2 ranks, now there are 1: training continues with sample 16' in capsys.readouterr().out
    order = [np.random.default_rng((7, epoch, 1)).permutation(6) for epoch in range(4)]
    samples = np.concatenate(order)[16:24].reshape(2, 4).tolist()
    assert seen == samples  # no image of the epoch is seen twice or left out


def test_a_state_every_few_minutes_beside_those_of_the_iterations(folder, options):
    options['logger'] |= {'save_checkpoint_freq': 4, 'save_checkpoint_minutes': 1e-9, 'keep_last': None}
    assert train(options) == 0
    assert states() == ['1.state', '2.state', '3.state', '4.state', '5.state', '6.state']
    assert sorted(path.name for path in Path('experiments/tiny/models').glob('*_[0-9]*')) == [
        'net_g_4.pth',
        'net_g_6.pth',
    ]


def test_a_full_disk_costs_no_iteration(folder, options, monkeypatch, capsys):
    """/dev/full, which is what 4.state is first written to, has no space left."""
    assert train({**options, 'name': 'whole'}) == 0
    start = Experiment.start

    def start_with_a_full_disk(self, iteration):
        start(self, iteration)
        (self.states / '.4.state.tmp').symlink_to('/dev/full')
        (self.root / 'metrics.jsonl').symlink_to('/dev/full')

    monkeypatch.setattr(Experiment, 'start', start_with_a_full_disk)
    monkeypatch.setattr(JSONLWriter, 'flush', freeing(JSONLWriter.flush))
    assert train(options) == 0
    said = capsys.readouterr().out
    assert '4.state could not be written ([Errno 28] No space left on device' in said
    assert 'metrics.jsonl could not be written ([Errno 28] No space left on device' in said
    assert states() == ['2.state', '6.state']
    assert same(weights(), weights('whole'))
    assert Path('experiments/tiny/metrics.jsonl').read_text() == Path('experiments/whole/metrics.jsonl').read_text()


def test_an_image_that_a_full_disk_does_not_take_ends_no_training(folder, options, monkeypatch, capsys):
    options['val']['save_img'] = True
    start = Experiment.start

    def start_with_a_full_disk(self, iteration):
        start(self, iteration)
        picture = self.root / 'visualization/textures/2_3.png'
        picture.parent.mkdir(parents=True)
        picture.symlink_to('/dev/full')

    monkeypatch.setattr(Experiment, 'start', start_with_a_full_disk)
    assert train(options) == 0
    assert 'textures/2_3.png could not be written ([Errno 28] No space left' in capsys.readouterr().out
    pictures = sorted(path.name for path in Path('experiments/tiny/visualization/textures').iterdir())
    assert pictures == ['0_3.png', '0_6.png', '1_3.png', '1_6.png', '2_6.png']


def freeing(flush, calls=None):
    """`JSONLWriter.flush` whose disk is full the first time."""
    calls = calls or []

    def flushed(self):
        if self._unwritten and self.path.name == 'metrics.jsonl':
            calls.append(1)
            if len(calls) == 2:
                self.path.unlink()
        flush(self)

    return flushed


def test_a_state_is_that_of_the_step_boundary_however_long_its_writing_takes(folder, options, monkeypatch):
    assert train({**options, 'name': 'whole'}) == 0
    arrived, save = threading.Event(), checkpoint.save
    step = SRModel.step

    def slow(content, path):
        assert Path(path).name != '2.state' or arrived.wait(300)
        save(content, path)

    def stepping(self, batch, iteration):
        terms = step(self, batch, iteration)
        if iteration == 4:
            arrived.set()
        return terms

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, 'save', slow)
        patch.setattr(SRModel, 'step', stepping)
        assert train(options) == 0
    mine, wanted = (checkpoint.load(f'experiments/{name}/training_states/2.state') for name in ('tiny', 'whole'))
    assert same_state(mine['model'], wanted['model'])


@LOSSES.register()
class SometimesNaN(torch.nn.Module):
    """No number from call `first` on, `count` times."""

    calls = 0

    def __init__(self, first: int, count: int) -> None:
        super().__init__()
        self.bad = range(first, first + count)

    def forward(self, sr, gt):
        type(self).calls += sr.device.type != 'meta'  # the check of the options passes shapes through
        return (sr - gt).abs().mean() * (float('nan') if type(self).calls in self.bad else 1)


@pytest.mark.parametrize(('first', 'count', 'code'), [(3, 1, 0), (4, 3, 0), (4, 99, 1), (1, 99, 1)])
def test_numbers_that_go_wrong(folder, options, monkeypatch, capsys, first, count, code):
    monkeypatch.setattr(SometimesNaN, 'calls', 0)
    options['train'] |= {'pixel_opt': None, 'losses': {'sad': {'type': 'SometimesNaN', 'first': first, 'count': count}}}
    options['train']['max_skips'] = 3
    assert train(options) == code
    said = capsys.readouterr().out
    lines = [json.loads(line) for line in Path('experiments/tiny/skipped.jsonl').read_text().splitlines()]
    assert lines[0]['iter'] == first and lines[0]['skips'] == 1
    (rank,) = lines[0]['ranks']
    assert len(rank['images']['index']) == 2 and rank['terms']['l_sad'] == 'nan' and 'optim_g' in rank['grad_norms']
    assert f'iteration {first} was skipped (1 in a row): l_sad nan on rank 0' in said
    assert ('resuming from iteration 2 ' in said) == (count >= 3 and first == 4)
    if code:
        assert ('again after restoring a state' in said) == (first == 4)
        assert 'train.grad_clip_norm' in said and 'Traceback' not in said
    else:
        assert all(tensor.isfinite().all() for tensor in weights()['params'].values())
        assert len(lines) == count


ODD = {
    'folder': lambda path: path.mkdir(),
    'dangling link': lambda path: path.symlink_to('nothing'),
    'FIFO': lambda path: os.mkfifo(path),
}


def test_what_is_no_file_in_a_files_place_is_told(folder, options, capsys):
    assert train(options) == 0
    options['train']['total_iter'] = 7
    for name, kind in (
        *product(['.lock'], ODD),
        ('metrics.jsonl', 'FIFO'),
        ('options.yml', 'folder'),
        ('run.json', 'dangling link'),
        ('models/net_g_6.pth', 'folder'),
    ):
        path = Path('experiments/tiny', name)
        path.rename('aside')
        ODD[kind](path)
        assert train(options, '--auto_resume') == 2, (name, kind)
        assert f'{path}: expected a file, found a folder, a FIFO or a broken link' in capsys.readouterr().err
        path.rmdir() if kind == 'folder' else path.unlink()
        Path('aside').rename(path)


@pytest.mark.parametrize('kind', ODD)
def test_a_state_that_is_no_file_is_passed_over(kind, folder, options, capsys):
    assert train(options) == 0
    path = Path('experiments/tiny/training_states/6.state')
    path.unlink()
    ODD[kind](path)
    assert train(options, '--auto_resume') == 0
    assert 'trying the previous state' in capsys.readouterr().out
    assert path.is_file() and path.with_suffix('.state.aside') in path.parent.iterdir()


def test_lines_of_metrics_that_are_no_text_are_dropped(folder, options, capsys):
    assert train(options) == 0
    path = Path('experiments/tiny/metrics.jsonl')
    path.write_bytes(path.read_bytes() + b'\xff\xfe{"iter": 3}\n[1]\n7\n{"iter": 6, "datasets": {}}\n{"it')
    options['train']['total_iter'] = 7
    assert train(options, '--auto_resume') == 0
    assert validations() == [3, 6, 6, 7]
    assert capsys.readouterr().out.count('dropped a truncated or corrupt line') == 4
