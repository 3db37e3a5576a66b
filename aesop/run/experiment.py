"""The folder of a run: who may write it, what it holds, how a run goes on from it."""

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
    """Takes the folder for this process until it ends, however it ends.

    Raises:
        UserError: another process is writing the folder.
    """
    require_files([folder / '.lock'])
    busy = f'{folder} is in use by another run; wait for it, stop it, or give this one another `name`'
    return files.lock(folder / '.lock', busy)


def require_files(paths: Iterable[Path]) -> None:
    """Raises UserError where something else has a file's name: to write there fails, or waits for ever."""
    odd = [path for path in paths if (path.exists() or path.is_symlink()) and not path.is_file()]
    if odd:
        remedy = 'a folder, a FIFO or a link to nothing is where a file belongs; remove or rename it'
        raise UserError([f'{path}: {remedy}' for path in odd])


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
        'launch': distributed.launch_id(),
        'command': ' '.join([Path(sys.executable).name, *sys.argv]),
        'git': {'commit': git('rev-parse', 'HEAD'), 'uncommitted': changes.splitlines() if changes else []},
        'python': platform.python_version(),
        'packages': dict(_versions()),
    }


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):  # OpenCV comes under several names
            yield name, metadata.version(name)


class Experiment:
    """`experiments/<name>`: networks in `models/`, states in `training_states/`, logs, options and metrics.

    Used by the main rank alone; states and networks are written by the checkpointer's thread.
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
        """The state to go on from, None for a fresh start, and the networks that do not take their weights from it.

        Takes the folder where there is one; nothing in it is changed yet.

        Args:
            resume: go on from this run's own newest state; `path.resume_state` counts where there is none.

        Raises:
            UserError: the folder is in use, or `path.resume_state` is no state.
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
        """Makes the folder ready for a run that goes on after `iteration`; what another run left is moved aside."""
        if self._lock and not self._goes_on:
            logger.info('the earlier run of this name is now %s', move_aside(self.root))
            self._lock = None
        self._lock = self._lock or lock(self.root)
        for folder in (self.states, self.models):
            folder.mkdir(parents=True, exist_ok=True)
            for unfinished in folder.glob('.*.tmp'):  # a kill came while it was written
                unfinished.unlink()
        self.forget_after(iteration)
        files.write_text(self.root / 'options.yml', self.options.to_yaml())
        files.write_text(self.root / 'run.json', json.dumps(describe_run(), indent=2) + '\n')

    def _was_restarted(self) -> bool:
        """Whether this process is torchrun's second try at the run that this folder holds, not at another's."""
        about = self.root / 'run.json'
        if not distributed.restarted() or not about.exists():
            return False
        try:
            return json.loads(about.read_bytes()).get('launch') == distributed.launch_id()
        except (ValueError, AttributeError):
            logger.warning('%s cannot be read; the run starts anew', about)
            return False

    def newest_state(self) -> dict[str, Any] | None:
        """The newest state that reads back whole, None where none was saved; damaged ones are named in the log.

        Raises:
            UserError: there are states, and all are damaged.
        """
        problems: list[str] = []
        for path in reversed(self._saved_states()):
            try:
                return _load_state(path)
            except UserError as error:
                problems += error.problems
                logger.warning('%s; trying the state before it', error)
        if problems:
            remedy = 'name weights of the run with path.pretrain_network_g, or start anew without --auto_resume'
            raise UserError([*problems, f'{self.states}: no state there can be gone on from; {remedy}'])
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
        """Puts states later than `iteration` aside (among them, the next ones would be pruned as the oldest), and drops
        later losses and validations, which will be made again, and a line cut off by a kill."""
        for path in self._saved_states():
            if int(path.stem) > iteration:
                path.rename(path.with_suffix('.state.aside'))
                logger.warning('%s is later than where this run goes on, and is put aside', path)
        for lines in (self.metrics, self.losses):
            lines.keep(lambda entry: entry['iter'] <= iteration)


def _load_state(path: str | Path) -> dict[str, Any]:
    """What the file holds, and its name under 'file'."""
    state = checkpoint.load(path)
    if isinstance(state, dict) and {'iter', 'optimizers'} <= state.keys():  # BasicSR's
        return {'iter': state['iter'], 'optimizers': state['optimizers'], 'file': str(path)}
    lacking = STATE_KEYS - state.keys() if isinstance(state, dict) else STATE_KEYS
    if lacking:
        raise UserError(
            f'{path} is no training state of aesop, it holds no {", ".join(sorted(lacking))}; '
            'weights alone are named by path.pretrain_network_g'
        )
    return state | {'file': str(path)}
