from collections import Counter

import pytest
import torch

from aesop.data import build_dataset, train_loader
from aesop.data.datasets.mixed import counts
from aesop.errors import UserError


def mixed(folders, **more):
    """Pairs, and bicubic images of the ground truths, three to one."""
    pairs = {'type': 'PairedImageDataset', 'dataroot_gt': str(folders / 'hr'), 'dataroot_lq': str(folders / 'lr')}
    made = {'type': 'BicubicImageDataset', 'dataroot_gt': str(folders / 'hr')}
    block = {'type': 'MixedDataset', 'parts': [pairs, made], 'ratios': [3, 1], 'common': {'gt_size': 24}}
    return build_dataset({**block, **more}, scale=4, seed=5, name='train')


def test_each_part_has_its_share_and_gives_its_samples_in_order(folders):
    dataset = mixed(folders)
    places = [dataset.locate(n) for n in range(400)]
    assert Counter(part for part, _ in places) == {0: 300, 1: 100}
    for part, count in ((0, 300), (1, 100)):
        assert [position for which, position in places if which == part] == list(range(count))
    firsts = [tuple(part for part, _ in places[n : n + 4]) for n in range(0, 400, 4)]
    assert len(set(firsts)) == 4  # the one of each block is anywhere


def test_a_sample_is_that_of_its_part(folders):
    dataset = mixed(folders)
    pairs = build_dataset({**mixed(folders).parts[0], 'gt_size': 24}, scale=4, seed=5)
    n = next(n for n in range(9, 50) if dataset.locate(n)[0] == 0)
    sample = pairs[dataset.locate(n)[1]]
    assert torch.equal(dataset[n]['gt'], sample['gt']) and dataset[n]['index'] == sample['index']
    n = next(n for n in range(9, 50) if dataset.locate(n)[0] == 1)
    assert dataset[n]['index'] >= 5 and len(dataset) == 10
    assert torch.equal(dataset[n]['lq'], mixed(folders)[n]['lq'])
    assert mixed(folders).check() == []


def test_a_loader_takes_it(folders):
    batches = list(train_loader(mixed(folders), batch_size=4, total_iter=2))
    assert [batch['gt'].shape for batch in batches] == [(4, 3, 24, 24)] * 2
    assert torch.equal(batches[1]['gt'][2], mixed(folders)[6]['gt'])


def test_ratios():
    assert counts([3, 1]) == [3, 1] and counts([2, 4]) == [1, 2] and counts([0.5, 0.5]) == [1, 1]
    assert counts([900, 100_000]) == [9, 991] and counts([1, 10**6]) == [1, 1000]


def test_mistakes_are_told(folders):
    with pytest.raises(UserError, match='2 parts need as many ratios, got 1'):
        mixed(folders, ratios=[1])
    with pytest.raises(UserError, match='numbers above 0'):
        mixed(folders, ratios=[1, 0])
    with pytest.raises(UserError, match=r'parts\.0: unknown dataset "Paired"'):
        mixed(folders, parts=[{'type': 'Paired'}])
    other = {'type': 'BicubicImageDataset', 'dataroot_gt': str(folders / 'hr'), 'gt_size': 16}
    (problem,) = mixed(folders, parts=[*mixed(folders).parts[:1], other]).check()
    assert 'differ in entries or sizes' in problem
