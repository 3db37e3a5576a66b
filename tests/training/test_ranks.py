"""What happens to two ranks when one of them is killed, hangs or meets a NaN: what docs/distributed.md says."""

import json
import re
from pathlib import Path

import torch
import yaml

from .test_loop import ROOT, torchrun


def test_a_nan_a_kill_and_a_hang_of_one_rank(folder, options, monkeypatch):
    """Samples 10, 14 and 22 are rank 1's in iterations 3, 4 and 6, which have 2 samples a rank."""
    monkeypatch.setenv('PYTHONPATH', f'{ROOT}:{ROOT / "tests"}')
    faults = {'10': 'nan', '14': 'kill', '22': 'hang'}
    options['datasets']['train'] |= {'type': 'FaultyDataset', 'faults': faults}
    del options['datasets']['val']
    Path('run.yml').write_text(yaml.safe_dump(options | {'plugins': ['faulty'], 'dist_params': {'timeout': 15}}))
    code, said = torchrun(str(ROOT / 'train.py'), '-opt', 'run.yml', restarts=1)
    assert code == 1, said

    skips = said.count('iteration 3 was skipped (1 in a row): l_pix nan on rank 1')
    assert skips == 2, said  # before and after the restart
    line, *_ = Path('experiments/tiny/skipped.jsonl').read_text().splitlines()
    assert [rank['terms']['l_pix'] == 'nan' for rank in json.loads(line)['ranks']] == [False, True]

    assert len(re.findall(r'rank 1 \(process \d+ on \S+\) has not answered for \d+ s \(killed, stopped', said)) == 1
    assert said.count('going on from iteration 2 (experiments/tiny/training_states/2.state)') == 1

    hang = r'no rank got on for 15 s \(dist_params.timeout\). The one that hangs: rank 1 \(process \d+ on \S+\) is '
    assert len(re.findall(hang + r'reading the batch of iteration 6 \(', said)) == 1, said
    state = torch.load('experiments/tiny/training_states/4.state', weights_only=True)
    assert all(tensor.isfinite().all() for tensor in state['model']['net_g'].values())
