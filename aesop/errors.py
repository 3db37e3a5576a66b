"""What a person did wrong, told in a sentence."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

DONE, FAILED, USER_ERROR, STOPPED = 0, 1, 2, 3  # exit codes; see docs/reliability.md


class UserError(ValueError):
    """A mistake in what the user gave: options, paths, images, checkpoints, data sets.

    The message says what is wrong, where (file, line, key) and what to do. The command line prints it without a
    traceback and exits with code 2. Several independent problems travel together, one a line.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__('\n'.join(self.problems))


class Unavailable(UserError):
    """What a part needs is not here: a file of weights, a package. An evaluation can go on without that part."""


class RunEnded(RuntimeError):
    """What ends a run and is no mistake in what the user gave: numbers that diverge, a rank that is gone.

    The command line prints it without a traceback and exits with code 1.
    """


@contextmanager
def at(place: str, collected: list[str] | None = None) -> Iterator[None]:
    """Puts `place`, e.g. an option's key, before the mistakes that are told inside.

    Args:
        collected: gets them, and the caller goes on, to tell them with others; None raises them.
    """
    try:
        yield
    except UserError as error:
        problems = [f'{place}: {problem}' for problem in error.problems]
        if collected is None:
            raise type(error)(problems) from error
        collected += problems
