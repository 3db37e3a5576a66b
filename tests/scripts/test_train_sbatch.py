"""The batch script, with a SLURM made of two shell scripts."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'scripts/train.sbatch'


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Makes `srun` a shell script, and `scontrol` one that writes down what it is told."""

    def make(srun):
        for name, text in (('srun', f'echo "$@" > started\n{srun}'), ('scontrol', 'echo "$@" > told')):
            (tmp_path / name).write_text(f'#!/bin/sh\n{text}\n')
            (tmp_path / name).chmod(0o755)
        return subprocess.Popen(['bash', str(SCRIPT), '-opt', 'run.yml'])

    monkeypatch.setenv('PATH', str(tmp_path), prepend=':')
    monkeypatch.setenv('SLURM_JOB_ID', '77')
    monkeypatch.chdir(tmp_path)
    return make


@pytest.mark.parametrize(('srun', 'code', 'requeued'), [
    ('exit 0', 0, False), ('exit 2', 2, False), ('exit 1', 1, False), ('exit 3', 3, True),
])  # fmt: skip
def test_a_run_that_was_stopped_is_requeued_and_no_other(slurm, srun, code, requeued):
    assert slurm(srun).wait(300) == code
    assert Path('told').exists() == requeued
    assert Path('started').read_text().split()[-5:] == ['--launcher', 'slurm', '--auto_resume', '-opt', 'run.yml']


@pytest.mark.parametrize(
    ('answer', 'code', 'requeued'), [('exit 3', 3, True), ('exit 138', 138, True), ('exit 0', 0, False)]
)
def test_the_signal_before_the_end_reaches_the_run(slurm, answer, code, requeued):
    job = slurm(f"trap '{answer}' USR1\ntouch ready\nwhile :; do sleep 0.01; done")
    while not Path('ready').exists():
        assert job.poll() is None
        time.sleep(0.01)
    os.kill(job.pid, signal.SIGUSR1)
    assert job.wait(300) == code
    assert Path('told').exists() == requeued
    if requeued:
        assert Path('told').read_text() == 'requeue 77\n'
