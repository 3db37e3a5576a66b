import numpy as np
import pytest
import torch

from aesop.data.degradation.pool import PairPool, redistribute
from aesop.errors import UserError


def batch(first, count=4):
    """Pairs whose pixels tell their number."""
    numbers = torch.arange(first, first + count).view(-1, 1, 1, 1) / 255
    return {'lq': numbers.expand(-1, 3, 2, 2), 'gt': numbers.expand(-1, 3, 8, 8)}


def numbers(pairs):
    lq, gt = ((pairs[name][:, 0, 0, 0] * 255).round().int().tolist() for name in ('lq', 'gt'))
    assert lq == gt
    return lq


def test_every_pair_comes_out_at_most_once_and_some_late():
    pool, rng = PairPool(10), np.random.default_rng(0)
    assert [numbers(pool.exchange(batch(first), rng)) for first in (0, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert len(pool) == 8  # two batches fit, the third would not
    later = [numbers(pool.exchange(batch(first), rng)) for first in range(8, 248, 4)]
    seen = [number for out in later for number in out]
    assert len(seen) == len(set(seen)) == 240
    assert any(min(out) // 4 != max(out) // 4 for out in later)
    held = pool.state_dict()['gt'][:, 0, 0, 0].tolist()
    assert sorted(seen + held) == list(range(248))


def test_values_of_8_bit_images_come_back_exactly():
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)).float() / 255
    pool, rng = PairPool(4), np.random.default_rng(0)
    pool.exchange({'gt': images}, rng)
    out = pool.exchange({'gt': torch.zeros_like(images)}, rng)['gt']
    assert sorted(x.sum().item() for x in out) == sorted(x.sum().item() for x in images)
    assert all(any(torch.equal(x, y) for y in images) for x in out)


def test_goes_on_from_its_state():
    pool = PairPool(12)
    for first in range(0, 24, 4):
        pool.exchange(batch(first), np.random.default_rng(first))
    state = pool.state_dict()
    expected = [numbers(pool.exchange(batch(first), np.random.default_rng(first))) for first in range(24, 48, 4)]
    resumed = PairPool(12)
    resumed.load_state_dict(state)
    assert [numbers(resumed.exchange(batch(f), np.random.default_rng(f))) for f in range(24, 48, 4)] == expected
    smaller = PairPool(5)
    smaller.load_state_dict(state)
    assert len(smaller) == 5


def test_a_pool_smaller_than_a_batch():
    with pytest.raises(UserError, match='queue_size: a pool of 3 pairs cannot hold a batch of 4'):
        PairPool(3).exchange(batch(0), np.random.default_rng(0))


def test_pools_of_other_ranks_are_shared_out():
    states = [{'lq': torch.arange(start, start + 4, dtype=torch.uint8)} for start in (0, 4)]
    shares = [redistribute(states, rank, 3)['lq'].tolist() for rank in range(3)]
    assert shares == [[0, 3, 6], [1, 4, 7], [2, 5]]
    assert redistribute([{}, {}], 0, 1) == {}
