import os

import pytest

from aesop.utils import probe

# Some virtual machines announce AMX and kill the process that uses it: oneDNN, which reads this when it is first used,
# is kept from it there. Processes that the tests start inherit it.
probe.TIMEOUT = 600  # on a busy machine PyTorch alone takes a minute to load
if probe.announces_amx() and probe.bf16_speedups().trap:
    os.environ.setdefault('ONEDNN_MAX_CPU_ISA', probe.WITHOUT_AMX)

import torch  # noqa: E402

from tests.server import server  # noqa: E402, F401  (a fixture)
from tests.small_results import coarse, in_made, inputs, made  # noqa: E402, F401  (fixtures)


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if 'gpu' in item.keywords:
                item.add_marker(pytest.mark.skip(reason='no CUDA device'))
