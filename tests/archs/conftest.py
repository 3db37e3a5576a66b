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
            # Tensors measured beside the output, to be loaded after the fill
            own = [key for key in outputs if key.startswith(f'{name}/')]
            entry['tensors'] = {key.split('/')[1]: torch.from_numpy(outputs[key]) for key in own}
    return table
