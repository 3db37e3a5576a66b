"""What a person did wrong, told in a sentence."""

from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user gave: options, paths, images, checkpoints, data sets.

    The message says what is wrong, where (file, line, key) and what to do. The command line prints it without a
    traceback and exits with code 2. Several independent problems travel together, one a line.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__('\n'.join(self.problems))
