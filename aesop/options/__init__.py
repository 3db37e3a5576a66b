"""Options: YAML with `base:` and overrides -> one validated, read-only object. Every mistake is told at once."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from aesop.errors import UserError
from aesop.options.checks import check_combinations, check_parts, drop_ignored, import_plugins, sentences
from aesop.options.schema import Options
from aesop.options.yaml_file import Key, read

__all__ = ['Options', 'load_options']

logger = logging.getLogger(__name__)


def load_options(path_or_dict: str | os.PathLike | Mapping[str, Any], overrides: Sequence[str] = ()) -> Options:
    """The options of a YAML file, or of a dict that holds what such a file says.

    Args:
        path_or_dict: left unchanged.
        overrides: 'train.optim_g.lr=5e-5' or 'train:optim_g:lr=5e-5'; the value is YAML and replaces what stood there.

    Raises:
        UserError: everything that is wrong, one mistake a line: `FILE:LINE: key: what. Did you mean "x"?`
    """
    problems: list[str] = []

    def report(where: str, key: Key, what: str) -> None:
        name = '.'.join(str(part)[:60] for part in key)
        line = f'{where}: {name}: {what}' if name else f'{where}: {what}'
        problems.append(''.join(c if c.isprintable() else '?' for c in line))

    tree, data = read(path_or_dict, overrides, report)
    ignored = drop_ignored(data)
    found = list(import_plugins(data))
    if not found:  # what a failed plugin would have registered is not missing
        found = [*check_parts(data), *check_combinations(data)]
    try:
        options = Options.model_validate(data)
    except ValidationError as error:
        found = [*sentences(error, data), *found]
    for key, what in dict.fromkeys(found):
        report(tree.at(key).where, key, what)
    if problems:
        raise UserError(dict.fromkeys(problems))
    if ignored:
        logger.info('keys of other programs that mean nothing here: %s', ', '.join(ignored))
    sources = {
        '.'.join(map(str, key)): 'override' if node.where.startswith('--set ') else node.where
        for key, node in tree.walk()
    }
    options._where.update(sources)
    return options
