"""Printing the results of commands, as opposed to log messages."""

import sys


def say(text: str) -> None:
    """Writes a line to stdout and flushes it."""
    sys.stdout.write(f'{text}\n')
    sys.stdout.flush()
