import json

import numpy as np
import pytest
import torch

from tests.golden import DATA


@pytest.fixture(scope='session')
def reference():
    """The published networks: configurations, names and shapes of tensors, outputs; and the full-size ones."""
    table = json.loads((DATA / 'archs.json').read_text())
    with np.load(DATA / 'archs.npz') as outputs:
        for name, entry in table['small'].items():
            entry['output'] = torch.from_numpy(outputs[name])
    return table
