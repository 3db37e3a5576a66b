"""The folder of a run: locking, contents, resuming."""

import json
import logging
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from aesop.errors import UserError
from aesop.options import Options
from aesop.utils import checkpoint, distributed, files
from aesop.utils.jsonl import JSONLWriter

logger = logging.getLogger(__name__)

STATE_KEYS = {'iter', 'model', 'random', 'pools', 'best', 'elapsed'}  # earlier versions had no 'samples' and 'options'
PACKAGES = ('torch', 'torchvision', 'numpy', 'opencv-python', 'opencv-python-headless', 'lpips')


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
    """Locks the folder for this process until it ends, however it ends.

    Raises:
        UserError: another process is writing the folder.
    """
    require_files([folder / '.lock'])
    busy = f'{folder} is in use by another run; wait for it, stop it, or give this one a different `name`'
    return files.lock(folder / '.lock', busy)


def require_files(paths: Iterable[Path]) -> None:
    """Raises a UserError for paths that exist but are not files: writing to them would fail or block."""
    odd = [path for path in paths if (path.exists() or path.is_symlink()) and not path.is_file()]
    if odd:
        remedy = 'expected a file, found a folder, a FIFO or a broken link; remove or rename it'
        raise UserError([f'{path}: {remedy}' for path in odd])


def describe_run() -> dict[str, Any]:
    """Provenance of this run: the command, the git state, the versions."""

    def git(*arguments: str) -> str | None:
        try:
            command = ['git', '-C', str(Path(__file__).parent), *arguments]
            return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return None

    changes = git('status', '--porcelain')
    return {
        'launch': distributed.launch_id(),
        'command': ' '.join([Path(sys.executable).name, *sys.argv]),
        'git': {'commit': git('rev-parse', 'HEAD'), 'uncommitted': changes.splitlines() if changes else []},
        'python': platform.python_version(),
        'packages': dict(_versions()),
    }


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):  # OpenCV has several package names
            yield name, metadata.version(name)


class Experiment:
    """`experiments/<name>`: networks in `models/`, states in `training_states/`, logs, options and metrics.

    Used by the main rank only; states and networks are written by the checkpointer's thread.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.root = Path(options.path.experiments_root or 'experiments') / options.name
        self.states = self.root / 'training_states'
        self.models = self.root / 'models'
        self.metrics = JSONLWriter(self.root / 'metrics.jsonl')
        self.losses = JSONLWriter(self.root / 'train.jsonl')
        self.skipped = JSONLWriter(self.root / 'skipped.jsonl')
        self._lock: IO[str] | None = None
        self._goes_on = False

    def find_state(self, resume: bool) -> tuple[dict[str, Any] | None, list[str]]:
        """The state to resume from (None for a fresh start), and the networks that are not restored from it.

        Locks the folder if it exists, without changing anything in it.

        Args:
            resume: resume from the newest state of this run, else from `path.resume_state`.

        Raises:
            UserError: the folder is in use, or `path.resume_state` is not a state.
        """
        if self.root.exists():
            self._lock = lock(self.root)
            if resume or distributed.restarted():
                names = ('metrics.jsonl', 'skipped.jsonl', 'options.yml', 'run.json')
                require_files([*(self.root / name for name in names), *self.models.glob('*')])
        if (resume or self._was_restarted()) and (state := self.newest_state()) is not None:
            self._goes_on = True
            return state, []
        path = self.options.path
        if path.resume_state is None:
            return None, []
        self._goes_on = Path(path.resume_state).resolve().parent == self.states.resolve()
        return _load_state(path.resume_state), path.ignore_resume_networks

    def start(self, iteration: int) -> None:
        """Prepares the folder for a run that continues after `iteration`; an earlier run's folder is moved aside."""
        if self._lock and not self._goes_on:
            logger.info('the earlier run of this name was moved to %s', move_aside(self.root))
            self._lock = None
        self._lock = self._lock or lock(self.root)
        for folder in (self.states, self.models):
            folder.mkdir(parents=True, exist_ok=True)
            for unfinished in folder.glob('.*.tmp'):  # left by a killed process
                unfinished.unlink()
        self.forget_after(iteration)
        files.write_text(self.root / 'options.yml', self.options.to_yaml())
        files.write_text(self.root / 'run.json', json.dumps(describe_run(), indent=2) + '\n')

    def _was_restarted(self) -> bool:
        """Whether torchrun restarted this process for the run in this folder."""
        about = self.root / 'run.json'
        if not distributed.restarted() or not about.exists():
            return False
        try:
            return json.loads(about.read_bytes()).get('launch') == distributed.launch_id()
        except (ValueError, AttributeError):
            logger.warning('%s cannot be read; starting from scratch', about)
            return False

    def newest_state(self) -> dict[str, Any] | None:
        """The newest state that can be read, None if none was saved; damaged ones are logged.

        Raises:
            UserError: there are states, and all are damaged.
        """
        problems: list[str] = []
        for path in reversed(self._saved_states()):
            try:
                return _load_state(path)
            except UserError as error:
                problems += error.problems
                logger.warning('%s; trying the previous state', error)
        if problems:
            remedy = 'set path.pretrain_network_g to weights of the run, or start over without --auto_resume'
            raise UserError([*problems, f'{self.states}: contains no usable state; {remedy}'])
        return None

    def save_state(self, state: dict[str, Any]) -> None:
        checkpoint.save(state, self.states / f'{state["iter"]}.state')
        keep = self.options.logger.keep_last
        if keep is not None:
            for path in [path for path in self._saved_states() if path.is_file()][:-keep]:
                path.unlink()

    def save_networks(self, networks: dict[str, dict[str, Any]], label: int | str) -> None:
        for stem, weights in networks.items():
            checkpoint.save(weights, self.models / f'{stem}_{label}.pth')

    def _saved_states(self) -> list[Path]:
        states = [path for path in self.states.glob('*.state') if re.fullmatch(r'\d+', path.stem)]
        return sorted(states, key=lambda path: int(path.stem))

    def forget_after(self, iteration: int) -> None:
        """Moves states later than `iteration` aside (otherwise new ones would be pruned as the oldest), and drops later
        losses and validations, which will be repeated, and truncated lines."""
        for path in self._saved_states():
            if int(path.stem) > iteration:
                path.rename(path.with_suffix('.state.aside'))
                logger.warning('%s is later than the iteration to resume from and is moved aside', path)
        for lines in (self.metrics, self.losses):
            lines.keep(lambda entry: entry['iter'] <= iteration)


def _load_state(path: str | Path) -> dict[str, Any]:
    """The content of the file, with its path under 'file'."""
    state = checkpoint.load(path)
    if isinstance(state, dict) and {'iter', 'optimizers'} <= state.keys():  # BasicSR's
        return {'iter': state['iter'], 'optimizers': state['optimizers'], 'file': str(path)}
    lacking = STATE_KEYS - state.keys() if isinstance(state, dict) else STATE_KEYS
    if lacking:
        raise UserError(
            f'{path} is not a training state of aesop: {", ".join(sorted(lacking))} missing; '
            'for weights only, use path.pretrain_network_g'
        )
    return state | {'file': str(path)}
