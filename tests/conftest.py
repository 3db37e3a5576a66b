import pytest
import torch

from tests.server import server  # noqa: F401  (a fixture)
from tests.small_results import coarse, in_made, inputs, made  # noqa: F401  (fixtures)


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if 'gpu' in item.keywords:
                item.add_marker(pytest.mark.skip(reason='no CUDA device'))
