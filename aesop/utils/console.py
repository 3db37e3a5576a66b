"""What commands print as their result, as opposed to log messages."""

import sys


def say(text: str) -> None:
    """Writes a line to stdout, at once."""
    sys.stdout.write(f'{text}\n')
    sys.stdout.flush()
