"""Kills a small AESOP run at random moments, resumes it each time, and compares it with an uninterrupted run.

    python scripts/soak.py --kills 30            # one rank
    python scripts/soak.py --kills 30 --ranks 2  # two ranks, gloo

SIGKILL, which no program can handle, is sent at a random moment: while a file is written, while the next iteration is
computed, or while the run starts. With several ranks, either all or one of them are killed; in the latter case the
others have to exit by themselves. The results must be bit-identical: all weight files, the last state with optimisers,
random generators and position, and all validation results.
"""

import argparse
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from tqdm import tqdm

from aesop.archs import build_network
from aesop.utils import checkpoint
from aesop.utils.images import save_image

ROOT = Path(__file__).resolve().parents[1]
STEP = 4  # iterations, at most, between two kills
LONG = 120.0  # seconds in which a run gets anywhere, and in which ranks notice that another is gone
G = {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4, 'scale': 4}
AE = {'type': 'AutoEncoder_RRDBNet', 'enc_opt': {'num_feat': 48, 'num_grow_ch': 4}, 'dec_opt': G}
ADAM = {'type': 'Adam', 'lr': 1e-3, 'betas': [0.9, 0.99]}
OPTIONS: dict[str, Any] = {
    'model_type': 'AesopESRGANArtifactsDisModel',
    'scale': 4,
    'num_gpu': 0,
    'dist_params': {'timeout': 60},
    'manual_seed': 7,
    'datasets': {
        'train': {
            'type': 'BicubicImageDataset',
            'dataroot_gt': 'images',
            'gt_size': 32,
            'batch_size_per_gpu': 2,
            'num_worker_per_gpu': 1,  # it outlives a killed run for a moment
        },
        'val': {'name': 'val', 'type': 'BicubicImageDataset', 'dataroot_gt': 'images'},
    },
    'network_g': G,
    'network_d': {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 4, 'input_size': 32},
    'train': {
        'ema_decay': 0.9,
        'optim_g': ADAM,
        'optim_d': ADAM,
        'scheduler': {'type': 'MultiStepLR', 'milestones': [10, 50], 'gamma': 0.5},
        'aesop_opt': {'type': 'AutoEncoderLoss', 'autoencoder_arch': AE, 'autoencoder_load': {'path': 'ae.pth'}},
        'artifacts_opt': {'type': 'L1Loss'},
        'gan_opt': {'type': 'GANLoss', 'gan_type': 'vanilla', 'loss_weight': 0.005},
    },
    'val': {'val_freq': 7, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 4}}},
    'logger': {'print_freq': 1, 'save_checkpoint_freq': 1, 'keep_last': 2, 'use_tb_logger': False},
}


def soak(folder: Path, kills: int, ranks: int = 1, seed: int = 0) -> list[str]:
    """Runs the whole comparison in `folder`; returns how each kill came about.

    Raises:
        AssertionError: something was lost, or a run did not do what it should.
    """
    prepare(folder, total_iter=STEP * kills + 2)
    left_alone = Run(folder, 'whole', ranks)
    assert left_alone.ended() == [0] * ranks, left_alone.said()
    chance, told = random.Random(seed), []
    for _ in tqdm(range(kills), unit='kill', disable=None):
        run = Run(folder, 'killed', ranks)
        told.append(kill(run, chance))
    goes_on = run.newest() > 0
    last = Run(folder, 'killed', ranks)
    assert last.ended() == [0] * ranks, last.said()
    assert ('resuming from iteration' in last.said()) == goes_on
    compare(*(folder / 'experiments' / name for name in ('whole', 'killed')))
    return told


def prepare(folder: Path, total_iter: int) -> None:
    """Images, an auto-encoder and the option file."""
    draw = np.random.default_rng(0)
    for number in range(6):
        blocks = draw.integers(0, 256, (18, 20, 3), dtype=np.uint8)
        save_image(folder / 'images' / f'{number}.png', blocks.repeat(4, 0).repeat(4, 1))
    torch.manual_seed(0)
    checkpoint.save_network(folder / 'ae.pth', checkpoint.network_state_dict(build_network(AE)))
    options = OPTIONS | {'train': OPTIONS['train'] | {'total_iter': total_iter}}
    (folder / 'run.yml').write_text(yaml.safe_dump(options))


class Run:
    """A training run of several processes, which goes on from what an earlier one of this name left."""

    def __init__(self, folder: Path, name: str, ranks: int) -> None:
        self.experiment, self._output = folder / 'experiments' / name, folder / f'{name}.txt'
        with socket.socket() as probe:
            probe.bind(('localhost', 0))
            meeting = {'MASTER_ADDR': 'localhost', 'MASTER_PORT': str(probe.getsockname()[1])}
        command = [sys.executable, str(ROOT / 'train.py'), '-opt', 'run.yml', '--auto_resume', '--set', f'name={name}']
        self.processes = []
        with open(self._output, 'w') as output:
            for rank in range(ranks):
                about = {'RANK': str(rank), 'LOCAL_RANK': str(rank), 'WORLD_SIZE': str(ranks), 'OMP_NUM_THREADS': '1'}
                self.processes.append(
                    subprocess.Popen(
                        command, cwd=folder, env={**os.environ, **meeting, **about}, stdout=output, stderr=output
                    )
                )

    def said(self) -> str:
        return self._output.read_text()

    def is_running(self) -> bool:
        return any(process.poll() is None for process in self.processes)

    def ended(self) -> list[int]:
        """Waits; the exit codes."""
        with contextlib.ExitStack() as stack:
            for process in self.processes:
                stack.callback(process.kill)
            return [process.wait(20 * LONG) for process in self.processes]

    def newest(self) -> int:
        """The iteration of the newest state."""
        states = (self.experiment / 'training_states').glob('*.state')
        return max((int(path.stem) for path in states if path.stem.isdigit()), default=0)

    def half_written(self) -> set[str]:
        return {path.name for path in self.experiment.glob('*/.*.tmp')}


def kill(run: Run, chance: random.Random) -> str:
    """Kills the run at a random moment; says at which."""
    how = chance.choice(['while writing', 'while writing', 'while computing', 'while starting'])
    cut_before = run.half_written()
    if how == 'while starting':
        time.sleep(chance.uniform(0, 4))
    else:
        target = run.newest() + chance.randint(1, STEP)
        deadline = time.monotonic() + LONG
        for _ in watched(run, target, writing=how == 'while writing'):
            assert run.is_running() and time.monotonic() < deadline, run.said()
        if how == 'while computing':
            time.sleep(chance.uniform(0, 0.05))
    victims = run.processes
    if len(victims) > 1 and how != 'while starting' and chance.random() < 0.5:
        victims = [chance.choice(victims)]
        how += f', rank {run.processes.index(victims[0])} alone'
    for process in victims:
        process.kill()
    for process in run.processes:
        assert process.wait(LONG) != 0, 'a run ended although it was killed'
    cut = run.half_written() - cut_before
    return ', '.join([how, *(f'{name} half written' for name in cut)])


def watched(run: Run, target: int, writing: bool) -> Iterator[None]:
    """Goes on until the state of iteration `target` is there, or, with `writing`, one of its files is begun."""
    names = [f'training_states/.{target}.state.tmp', f'models/.net_g_{target}.pth.tmp']
    names = [*names, f'models/.net_d_{target}.pth.tmp'] if writing else []
    while not any((run.experiment / name).exists() for name in names) and run.newest() < target:
        yield
        time.sleep(0.0005)


def compare(whole: Path, killed: Path) -> None:
    """All that the two runs left is the same, apart from times."""
    listed = [sorted(path.name for path in folder.glob('*/*')) for folder in (whole, killed)]
    assert listed[0] == listed[1], set(listed[0]) ^ set(listed[1])
    for path in whole.glob('models/*'):
        assert same(checkpoint.load(path), checkpoint.load(killed / 'models' / path.name)), path.name
    for path in whole.glob('training_states/*'):
        states = [checkpoint.load(folder / 'training_states' / path.name) for folder in (whole, killed)]
        for name in states[0].keys() - {'elapsed', 'options'}:
            assert same(*(state[name] for state in states)), f'{path.name}: {name}'
    assert (whole / 'metrics.jsonl').read_text() == (killed / 'metrics.jsonl').read_text()
    assert losses(whole) == losses(killed)


def losses(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """Of every iteration, in order."""
    entries = map(json.loads, (folder / 'train.jsonl').read_text().splitlines())
    return [(entry['iter'], entry['losses']) for entry in entries]


def same(a: Any, b: Any) -> bool:  # noqa: ANN401
    """Whether two nested structures hold the same bits."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--kills', type=int, default=30)
    parser.add_argument('--ranks', type=int, default=1)
    parser.add_argument('--seed', type=int, default=int(time.time()), help='of the moments; default: another each time')
    args = parser.parse_args()
    print(f'seed {args.seed}')
    with tempfile.TemporaryDirectory() as folder:
        told = soak(Path(folder), args.kills, args.ranks, args.seed)
    for how in told:
        print(how)
    halves = sum('half written' in how for how in told)
    kinds = Counter(how.split(',')[0] for how in told)
    print(f'{args.kills} kills on {args.ranks} rank(s): {dict(kinds)}; {halves} left a file half written. '
          'The same bits came out as without any.')  # fmt: skip


if __name__ == '__main__':
    main()
