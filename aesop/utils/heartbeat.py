"""Names a rank that died or hangs: every rank writes its beat to the run's store, and reads those of the others."""

import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch.distributed import Store

from aesop.errors import RunEnded

logger = logging.getLogger(__name__)

INTERVAL = 1.0  # seconds between two beats
SILENCE = 20.0  # seconds without a beat after which a rank is taken for dead; torchrun leaves survivors 30
STARTING = 600.0  # seconds, at least, until a rank gets on for the first time: it reads data sets and weights
DONE, USER_ERROR, FAILED = 'done', 'user error', 'failed'
CODES = {USER_ERROR: 2, FAILED: 1}


@dataclass
class Seen:
    """What this rank knows of another one: its last beat, when that came, and when it last got on."""

    beat: dict[str, Any] = field(default_factory=dict)
    heard: float = field(default_factory=time.monotonic)
    moved: float = field(default_factory=time.monotonic)


class Heartbeat:
    """Ends this process, with a sentence that one rank tells, when another rank is gone or none gets on any more.

    Two threads: one talks to the store, one judges, since a store whose machine is gone answers nothing at all.

    Args:
        store: a connection of its own, which only the first of these threads uses.
        timeout: seconds without any progress on any rank after which the run is said to hang.
        at_end: is run before this process is ended.
    """

    def __init__(self, store: Store, rank: int, world_size: int, timeout: float, interval: float = INTERVAL) -> None:
        self.timeout = timeout
        self.at_end: list[Callable[[], Any]] = []
        self._store, self._rank, self._interval = store, rank, interval
        self._silence = SILENCE
        self._seen = [Seen() for _ in range(world_size)]
        self._answered = time.monotonic()
        self._main = threading.main_thread().ident
        self._beat = {'number': 0, 'steps': 0, 'doing': 'starting', 'waits': False, 'left': None}
        self._beat |= {'host': socket.gethostname(), 'pid': os.getpid()}
        self._over = threading.Event()
        self._talking = threading.Thread(target=self._talk, name='heartbeat', daemon=True)
        self._judging = threading.Thread(target=self._judge, name='watch over ranks', daemon=True)

    def start(self) -> None:
        self._talking.start()
        self._judging.start()

    def progress(self, doing: str) -> None:
        """Notes that this rank gets on, and what it does now, e.g. 'computing iteration 12'."""
        self._beat['doing'] = doing
        self._beat['steps'] += 1

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While this rank waits for the others, it is not the one that hangs."""
        self._beat['waits'] = True
        yield
        self._beat['waits'] = False

    def leave(self, how: str, reason: str = '') -> None:
        """Tells the others that this rank ends, and why; stops watching."""
        self._say_goodbye(how, reason)
        self._judging.join(3 * self._interval)

    def explain(self, error: Exception) -> RunEnded:
        """Called when the talk with the other ranks broke: the judge ends this process as soon as it knows why.

        Returns:
            What to raise if it finds nothing.
        """
        self._silence = min(self._silence, 5 * self._interval)  # a broken connection says that somebody is gone
        self._beat['waits'] = True
        self._judging.join(self._silence + 5 * self._interval)
        return RunEnded(f'the connection between the ranks broke, and all of them still answer: {error}')

    def _talk(self) -> None:
        keys = {f'beat/{rank}': rank for rank in range(len(self._seen)) if rank != self._rank}
        while True:
            leaving = self._over.wait(self._interval)
            self._beat['number'] += 1
            if not leaving:
                self._beat['where'] = self._where()
            try:
                self._store.set(f'beat/{self._rank}', json.dumps(self._beat))
                if leaving:
                    return
                there = list(keys) if self._store.check(list(keys)) else [k for k in keys if self._store.check([k])]
                for key, beat in zip(there, self._store.multi_get(there) if there else ()):
                    self._hear(keys[key], json.loads(beat))
            except RuntimeError:  # rank 0 holds the store, where torchrun's agent does not
                return
            self._answered = time.monotonic()
            self._hear(self._rank, dict(self._beat))

    def _say_goodbye(self, how: str, reason: str = '') -> None:
        self._beat |= {'left': how, 'reason': reason}
        self._over.set()
        self._talking.join(3 * self._interval)
        if self._rank == 0 and how != DONE:
            time.sleep(3 * self._interval)  # the store may end with this process, and the others have to read it first

    def _hear(self, rank: int, beat: dict[str, Any]) -> None:
        seen, now = self._seen[rank], time.monotonic()
        if beat['number'] != seen.beat.get('number'):
            seen.heard = now
        if beat['steps'] != seen.beat.get('steps'):
            seen.moved = now
        seen.beat = beat

    def _where(self) -> str:
        """The innermost place of the package in which the main thread is."""
        frame = sys._current_frames().get(self._main)
        while frame is not None and not frame.f_globals.get('__name__', '').startswith('aesop.'):
            frame = frame.f_back
        return f'{frame.f_globals["__name__"]}:{frame.f_lineno}' if frame else 'outside the package'

    def _judge(self) -> None:
        while not self._over.wait(self._interval):
            code, why = self._verdict()
            if code is not None:
                self._end(code, why)

    def _verdict(self) -> tuple[int | None, str]:
        """The exit code with which the run ends now and the sentence to tell, None while nothing is wrong."""
        now = time.monotonic()
        for rank, seen in enumerate(self._seen):
            left = seen.beat.get('left')
            if left in CODES:
                reason = seen.beat['reason']
                return CODES[left], reason and f'{self._name(rank)} failed while {seen.beat["doing"]}: {reason}'
        if now - self._answered > self._silence:
            if self._seen[0].beat.get('left') == DONE:
                return None, ''
            return 1, f'{self._name(0)}, where the ranks meet, is gone or cannot be reached any more'
        present = {rank: seen for rank, seen in enumerate(self._seen) if seen.beat.get('left') != DONE}
        for rank, seen in present.items():
            if now - seen.heard > self._silence:
                why = f'not answered for {now - seen.heard:.0f} s (killed, stopped, or its machine is gone)'
                return 1, f'{self._name(rank)} has {why}; it was last {self._doing(rank)}'
        if present and all(now - seen.moved > self._limit(seen) for seen in present.values()):
            busy = {rank: seen for rank, seen in present.items() if not seen.beat.get('waits')} or present
            least = min(seen.beat.get('steps', 0) for seen in busy.values())
            stuck = [rank for rank, seen in busy.items() if seen.beat.get('steps', 0) == least]
            each = '; '.join(f'{self._name(rank)} is {self._doing(rank)}' for rank in stuck)
            return 1, f'no rank got on for {self.timeout:.0f} s (dist_params.timeout). The one that hangs: {each}'
        return None, ''

    def _limit(self, seen: Seen) -> float:
        return self.timeout if seen.beat.get('steps') else max(self.timeout, STARTING)

    def _name(self, rank: int) -> str:
        beat = self._seen[rank].beat
        return f'rank {rank}' + (f' (process {beat["pid"]} on {beat["host"]})' if beat else ', which never came,')

    def _doing(self, rank: int) -> str:
        beat = self._seen[rank].beat
        return f'{beat["doing"]} ({beat["where"]})' if beat else 'starting'

    def _end(self, code: int, why: str) -> None:
        """Ends this process, whose main thread may be stuck in a collective. The lowest rank that can, tells."""
        until = time.monotonic() + 5 * self._interval
        while why and self._has_lower() and time.monotonic() < until:
            time.sleep(self._interval / 2)  # a launcher ends all ranks with the first: the one that tells goes before
        if why and not self._told_by_lower():
            logger.error('%s. This run ends; go on with --auto_resume', why)
        for last in self.at_end:
            last()
        self._say_goodbye(USER_ERROR if code == CODES[USER_ERROR] else FAILED)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)

    def _has_lower(self) -> bool:
        """Whether a lower rank is there to tell."""
        now, lower = time.monotonic(), self._seen[: self._rank]
        return any(seen.beat.get('left') is None and now - seen.heard < 3 * self._interval for seen in lower)

    def _told_by_lower(self) -> bool:
        """Whether a lower rank has ended meanwhile, and not for a reason of its own, which is still to be told."""
        return any(seen.beat.get('left') in CODES and not seen.beat['reason'] for seen in self._seen[: self._rank])
