import os
import signal
import subprocess
import sys
import time

import pytest

from aesop.data.preparation.parallel import parallel
from aesop.errors import UserError
from aesop.utils.jsonl import Journal


def double(n):
    if n % 10 == 3:
        raise UserError([f'{n} is odd', f'{n} ends with 3'])
    return 2 * n, os.getpid()


@pytest.mark.parametrize('workers', [1, 3])
def test_results_come_in_order_and_mistakes_together(workers):
    problems = []
    results = list(parallel(double, range(25), problems, workers=workers))
    assert [result for result, _ in results] == [2 * n for n in range(25) if n % 10 != 3]
    assert problems == [f'{n} {what}' for n in (3, 13, 23) for what in ('is odd', 'ends with 3')]
    assert (os.getpid() in {process for _, process in results}) == (workers == 1)


def test_jobs_are_read_no_further_ahead_than_needed():
    read = []
    results = parallel(double, (read.append(n) or n for n in range(1000)), [], total=1000, workers=2)
    next(results)
    assert len(read) < 20
    results.close()


def die(n):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_dies_is_told():
    with pytest.raises(UserError, match='a worker process was killed.*--workers'):
        list(parallel(die, range(4), [], workers=2))


def test_the_processes_end_with_a_parent_that_is_killed(tmp_path):
    code = (
        'import os, signal, time\n'
        'from aesop.data.preparation.parallel import parallel\n'
        'def job(n):\n'
        f'    open({str(tmp_path)!r} + f"/{{os.getpid()}}", "w").close()\n'
        '    time.sleep(n)\n'
        'for _ in parallel(job, [0, 0, 60, 60], [], workers=2): pass\n'
    )
    parent = subprocess.Popen([sys.executable, '-c', code])
    deadline = time.monotonic() + 60
    while len(workers := list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    while any(alive(int(path.name)) for path in workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(alive(int(path.name)) for path in workers)


def alive(process):
    try:
        with open(f'/proc/{process}/stat') as file:
            return file.read().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def test_a_journal_survives_a_line_cut_off_at_any_byte(tmp_path):
    path = tmp_path / 'journal'
    journal = Journal(path)
    assert not journal.records and not path.exists()
    journal.add('ä', {'size': 1})
    first = path.read_bytes()
    journal.add('b', {'size': 2})
    both = path.read_bytes()
    for length in range(len(first), len(both)):
        path.write_bytes(both[:length])
        again = Journal(path)
        assert again.records == {'ä': {'size': 1}}
        again.add('b', {'size': 2})
        assert path.read_bytes() == both
    assert Journal(path).records == journal.records
