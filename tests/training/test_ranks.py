"""What happens to two ranks when one of them is killed, hangs or meets a NaN: what docs/reliability.md says."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from .test_loop import ROOT, torchrun


@pytest.fixture
def faulty(folder, options, monkeypatch):
    """Writes run.yml: samples 10, 14 and 22 are rank 1's in iterations 3, 4 and 6, which have 2 samples a rank."""

    def write(faults, **more):
        monkeypatch.setenv('PYTHONPATH', f'{ROOT}:{ROOT / "tests"}')
        options['datasets']['train'] |= {'type': 'FaultyDataset', 'faults': faults}
        del options['datasets']['val']
        Path('run.yml').write_text(yaml.safe_dump(options | {'plugins': ['faulty']} | more))

    return write


def test_a_nan_and_a_kill_of_one_rank(faulty):
    faulty({'10': 'nan', '14': 'kill'})
    code, said = torchrun(str(ROOT / 'train.py'), '-opt', 'run.yml', restarts=1)
    assert code == 0, said
    skips = said.count('iteration 3 was skipped (1 in a row): l_pix nan on rank 1')
    assert skips == 2, said  # before and after the restart
    line, *_ = Path('experiments/tiny/skipped.jsonl').read_text().splitlines()
    assert [rank['terms']['l_pix'] == 'nan' for rank in json.loads(line)['ranks']] == [False, True]
    assert 'exitcode: -9' in said and 'rank 0 ends: RuntimeError' in said
    assert said.count('resuming from iteration 2 (experiments/tiny/training_states/2.state)') == 1
    state = torch.load('experiments/tiny/training_states/6.state', weights_only=True)
    assert all(tensor.isfinite().all() for tensor in state['model']['net_g'].values())


def start(rank, port):
    """Rank `rank` of two, without torchrun."""
    about = {'RANK': str(rank), 'LOCAL_RANK': str(rank), 'WORLD_SIZE': '2', 'OMP_NUM_THREADS': '1'}
    about |= {'MASTER_ADDR': 'localhost', 'MASTER_PORT': str(port)}
    command = [sys.executable, str(ROOT / 'train.py'), '-opt', 'run.yml']
    environment = {**os.environ, **about}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize(('fault', 'code', 'words'), [
    ('hang', 1, 'rank 0 ends: RuntimeError'), ('user', 2, 'aesop train: sample 14 is broken'),
])  # fmt: skip
def test_no_rank_waits_for_ever(faulty, fault, code, words):
    faulty({'14': fault}, dist_params={'timeout': 8})
    with socket.socket() as probe:
        probe.bind(('localhost', 0))
        port = probe.getsockname()[1]
    ranks = [start(rank, port) for rank in (0, 1)]
    ends = 1 if fault == 'user' else 0  # the rank that tells
    try:
        said, _ = ranks[ends].communicate(timeout=600)
        assert ranks[ends].returncode == code and words in said, said
        if fault == 'user':
            assert ranks[0].wait(600) == 1  # the other one is gone
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()
