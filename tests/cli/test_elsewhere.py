"""A run starts on systems that lack what only Unix has."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
WITHOUT = """
import os, signal, sys
for module in ('fcntl', 'resource'):
    sys.modules[module] = None
del signal.SIGUSR1, os.sched_getaffinity
from aesop.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_run_starts_without_what_only_unix_has(folder, options):
    options['datasets']['train']['num_worker_per_gpu'] = 1
    Path('run.yml').write_text(yaml.safe_dump(options))
    command = [sys.executable, '-c', WITHOUT, 'train', '-opt', 'run.yml']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert 'done: 6 iterations' in done.stdout
    assert Path('experiments/tiny/models/net_g_6.pth').is_file()
