"""Exceptions that the command line reports without a traceback, and its exit codes."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

DONE, FAILED, USER_ERROR, STOPPED = 0, 1, 2, 3  # exit codes; see docs/reliability.md


class UserError(ValueError):
    """A mistake in what the user gave: options, paths, images, checkpoints, data sets.

    The message says what is wrong, where (file, line, key) and how to fix it. The command line prints it without a
    traceback and exits with code 2. Several independent problems are reported together, one per line.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__('\n'.join(self.problems))


class Unavailable(UserError):
    """A part's dependency is missing: a weights file, a package. An evaluation can continue without that part."""


class RunEnded(RuntimeError):
    """Ends a run for a reason other than bad input: training diverged, a rank was lost.

    The command line prints it without a traceback and exits with code 1.
    """


@contextmanager
def error_context(place: str, collected: list[str] | None = None) -> Iterator[None]:
    """Prefixes every `UserError` raised inside with `place`, e.g. the key of an option.

    Args:
        collected: a list that the messages are appended to instead of being raised.
    """
    try:
        yield
    except UserError as error:
        problems = [f'{place}: {problem}' for problem in error.problems]
        if collected is None:
            raise type(error)(problems) from error
        collected += problems
