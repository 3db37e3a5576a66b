"""AESOPLoss in a training of somebody else's that is wrapped in DistributedDataParallel."""

from pathlib import Path

import pytest
import torch

from tests.training.test_loop import torchrun

from .two_ranks import WAYS, train


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The weights of both ranks, as saved by two_ranks.py."""
    folder = tmp_path_factory.mktemp('two_ranks')
    code, said = torchrun(str(Path(__file__).with_name('two_ranks.py')), str(folder))
    assert code == 0, said
    return [torch.load(folder / f'{rank}.pth', weights_only=True) for rank in range(2)]


@pytest.mark.parametrize('way', WAYS)
def test_two_ranks_equal_one_with_twice_the_batch(trained, way):
    one, (first, second) = train(way), (of_rank[way] for of_rank in trained)
    for name, weights in one.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], weights, atol=1e-6, rtol=1e-5)
