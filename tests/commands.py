"""Commands of `aesop` as functions of their arguments."""

from aesop import cli


def command(*words):
    return lambda arguments: cli.main([*words, *map(str, arguments)])
