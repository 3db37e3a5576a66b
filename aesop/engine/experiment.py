"""The folder of a run: who may write it, what it holds, how a run goes on from it."""

import fcntl
import json
import logging
import os
import platform
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from aesop import checkpoint
from aesop.errors import UserError
from aesop.options import Options

logger = logging.getLogger(__name__)

PACKAGES = ('torch', 'torchvision', 'numpy', 'opencv-python', 'lpips')


def move_aside(folder: Path) -> Path | None:
    """Renames an existing folder with the time, so that nothing is overwritten; returns its new name."""
    if not folder.exists():
        return None
    stamp = time.strftime('%Y%m%d_%H%M%S')
    aside = folder.with_name(f'{folder.name}_archived_{stamp}')
    count = 1
    while aside.exists():
        count += 1
        aside = folder.with_name(f'{folder.name}_archived_{stamp}_{count}')
    folder.rename(aside)
    return aside


def lock(folder: Path) -> IO[str]:
    """Takes the folder for this process until it ends, however it ends.

    Raises:
        UserError: another process is writing the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = open(folder / '.lock', 'a+')  # noqa: SIM115  (held open: the lock lives as long as the file object)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise UserError(
            f'{folder} is in use by another run; wait for it, stop it, or give this one another `name`'
        ) from error
    return handle


def describe_run() -> dict[str, Any]:
    """How this run came about: the command, the git state, the versions."""

    def git(*arguments: str) -> str | None:
        try:
            command = ['git', '-C', str(Path(__file__).parent), *arguments]
            return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return None

    changes = git('status', '--porcelain')
    return {
        'command': ' '.join([Path(sys.executable).name, *sys.argv]),
        'git': {'commit': git('rev-parse', 'HEAD'), 'uncommitted': changes.splitlines() if changes else []},
        'python': platform.python_version(),
        'packages': {name: metadata.version(name) for name in PACKAGES},
    }


class Experiment:
    """`experiments/<name>`: networks in `models/`, states in `training_states/`, logs, options and metrics.

    Used by the main rank alone.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.root = Path(options.path.experiments_root or 'experiments') / options.name
        self.states = self.root / 'training_states'
        self.models = self.root / 'models'
        self._lock: IO[str] | None = None

    def open(self, resume: bool) -> dict[str, Any] | None:
        """Takes the folder and returns the state to go on from, or None for a fresh start.

        A fresh start moves an existing folder aside.

        Raises:
            UserError: the folder is in use, or `path.resume_state` cannot be read.
        """
        explicit = self.options.path.resume_state
        state = checkpoint.load(explicit) if explicit else None
        if self.root.exists():
            self._lock = lock(self.root)
            if state is None and resume:
                state = self.newest_state()
            if state is None:
                aside = move_aside(self.root)
                logger.info('the earlier run of this name is now %s', aside)
        self._lock = self._lock if state is not None and self._lock else lock(self.root)
        for folder in (self.states, self.models):
            folder.mkdir(parents=True, exist_ok=True)
        if state is not None:
            self._forget_after(state['iter'])
        (self.root / 'options.yml').write_text(self.options.to_yaml())
        (self.root / 'run.json').write_text(json.dumps(describe_run(), indent=2) + '\n')
        return state

    def newest_state(self) -> dict[str, Any] | None:
        """The newest state that reads back whole; damaged ones are named in the log and passed over."""
        for path in reversed(self._saved_states()):
            try:
                return checkpoint.load(path)
            except UserError as error:
                logger.warning('%s; trying the state before it', error)
        return None

    def save_state(self, state: dict[str, Any]) -> None:
        checkpoint.save(state, self.states / f'{state["iter"]}.state')
        keep = self.options.logger.keep_last
        if keep is not None:
            for path in self._saved_states()[:-keep]:
                path.unlink()

    def save_networks(self, networks: dict[str, dict[str, Any]], label: int | str) -> None:
        for stem, weights in networks.items():
            checkpoint.save(weights, self.models / f'{stem}_{label}.pth')

    def record(self, entry: dict[str, Any]) -> None:
        """Adds a validation to `metrics.jsonl`."""
        with open(self.root / 'metrics.jsonl', 'a') as file:
            file.write(json.dumps(entry) + '\n')
            file.flush()
            os.fsync(file.fileno())

    def _saved_states(self) -> list[Path]:
        states = [path for path in self.states.glob('*.state') if re.fullmatch(r'\d+', path.stem)]
        return sorted(states, key=lambda path: int(path.stem))

    def _forget_after(self, iteration: int) -> None:
        """Drops validations later than the state, which will be made again, and a line cut off by a kill."""
        path = self.root / 'metrics.jsonl'
        if not path.exists():
            return
        kept = []
        for line in path.read_text().splitlines():
            try:
                if json.loads(line)['iter'] <= iteration:
                    kept.append(line + '\n')
            except (json.JSONDecodeError, KeyError):
                logger.warning('%s: a line that was cut off is dropped', path)
        path.write_text(''.join(kept))
