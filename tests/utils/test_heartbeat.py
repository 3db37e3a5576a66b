"""What is said of ranks that died or hang; real ones are killed and hung in tests/training/test_ranks.py."""

import json
import time

import pytest
from torch.distributed import HashStore

from aesop.utils.heartbeat import DONE, FAILED, USER_ERROR, Heartbeat, Seen


class Store(HashStore):
    def multi_get(self, keys):
        return [self.get(key) for key in keys]


def heartbeat(ranks=3, timeout=60):
    """Rank 0's, with beats of all ranks that came just now; no thread runs."""
    heart = Heartbeat(Store(), 0, ranks, timeout)
    for rank in range(ranks):
        beat = {'number': 1, 'steps': 5, 'doing': 'computing iteration 7', 'where': 'aesop.models.sr:1', 'waits': False}
        heart._hear(rank, beat | {'left': None, 'reason': '', 'host': 'node', 'pid': 100 + rank})
    return heart


def test_nothing_is_wrong_with_ranks_that_beat():
    assert heartbeat()._verdict() == (None, '')


def test_a_silent_rank_is_named_with_what_it_did():
    heart = heartbeat()
    heart._seen[2].heard -= 21
    code, why = heart._verdict()
    assert code == 1
    assert 'rank 2 (process 102 on node) has not answered for 21 s' in why and 'computing iteration 7' in why


def test_a_rank_that_never_came_is_named():
    heart = heartbeat()
    heart._seen[1] = Seen(heard=time.monotonic() - 30)
    assert 'rank 1, which never came, has not answered' in heart._verdict()[1]


def test_of_ranks_that_do_not_get_on_the_last_one_is_named_and_never_one_that_waits():
    heart = heartbeat(timeout=10)
    for rank, steps in enumerate((6, 5, 4)):
        heart._seen[rank].moved -= 11
        heart._seen[rank].beat['steps'] = steps
    code, why = heart._verdict()
    assert code == 1 and 'hangs: rank 2 ' in why and 'rank 1' not in why
    heart._seen[2].beat['waits'] = True
    assert 'hangs: rank 1 ' in heart._verdict()[1]
    heart._seen[0].moved = time.monotonic()  # as long as one of them gets on, the others may wait
    assert heart._verdict() == (None, '')


def test_a_rank_that_failed_says_why_and_one_whose_user_was_told_is_quiet():
    heart = heartbeat()
    heart._seen[1].beat |= {'left': FAILED, 'reason': "KeyError: 'lq'"}
    code, why = heart._verdict()
    assert code == 1 and "rank 1 (process 101 on node) failed while computing iteration 7: KeyError: 'lq'" in why
    heart._seen[1].beat |= {'left': USER_ERROR, 'reason': ''}
    assert heart._verdict() == (2, '')
    heart._seen[1].beat |= {'left': DONE}
    heart._seen[1].heard -= 100
    assert heart._verdict() == (None, '')


def test_a_store_that_does_not_answer_is_rank_0_gone():
    heart = heartbeat()
    heart._answered -= 21
    assert 'rank 0 (process 100 on node), where the ranks meet, is gone' in heart._verdict()[1]
    heart._seen[0].beat['left'] = DONE
    assert heart._verdict() == (None, '')


@pytest.mark.parametrize('left', [DONE, FAILED])
def test_beats_travel_through_the_store(left):
    store = Store()
    hearts = [Heartbeat(store, rank, 2, 60, interval=0.01) for rank in range(2)]
    hearts[1].progress('reading')
    hearts[1]._talking.start()
    hearts[1]._judging.start()
    while not store.check(['beat/1']):
        time.sleep(0.001)
    hearts[1].leave(left, 'because')
    beat = json.loads(store.get('beat/1'))
    assert (beat['doing'], beat['steps'], beat['left'], beat['reason']) == ('reading', 1, left, 'because')
    hearts[0]._over.set()
    hearts[0]._talk()  # one round
    assert json.loads(store.get('beat/0'))['left'] is None


@pytest.mark.parametrize('lower', ['ends', 'stays'])
def test_the_lowest_rank_tells_and_the_others_end_after_it(lower, monkeypatch, caplog):
    """A launcher ends all ranks as soon as one has ended: what nobody has told by then is lost."""
    heart = heartbeat()
    heart._rank, heart._interval = 2, 0.05
    heart._seen[0].beat['left'] = FAILED  # of something that it told
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        heart._seen[1].heard = time.monotonic()
        heart._seen[1].beat['left'] = FAILED if lower == 'ends' and len(slept) == 2 else None
        if lower == 'stays':
            heart._seen[0].beat['left'] = DONE

    monkeypatch.setattr('aesop.utils.heartbeat.time.sleep', sleep)
    monkeypatch.setattr(heart, '_say_goodbye', lambda how: None)
    monkeypatch.setattr('aesop.utils.heartbeat.os._exit', lambda code: slept.append(code))
    heart._end(1, 'rank 3 is gone')
    assert slept[-1] == 1
    assert ('rank 3 is gone' in caplog.text) == (lower == 'stays')
    if lower == 'ends':
        assert len(slept) == 3  # twice, and the end
