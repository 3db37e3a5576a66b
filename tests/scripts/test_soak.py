"""The short form of scripts/soak.py; the long one has its results in docs/reliability.md."""

import pytest
import torch

from scripts import soak


def test_a_run_that_is_killed_while_it_writes_loses_nothing(tmp_path):
    (told,) = soak.soak(tmp_path, kills=1, seed=4)
    assert told.startswith('while writing')
    newest = soak.checkpoint.load(tmp_path / 'experiments/killed/training_states/6.state')
    newest['model']['net_g']['conv_last.bias'][0] += 1e-6
    torch.save(newest, tmp_path / 'experiments/killed/training_states/6.state')
    with pytest.raises(AssertionError, match='6.state: model'):
        soak.compare(*(tmp_path / 'experiments' / name for name in ('whole', 'killed')))
