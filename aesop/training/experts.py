"""Experts of a mixture that are not chosen any more: told in the log, since their losses do not show it."""

import logging
import re
from collections.abc import Mapping

logger = logging.getLogger(__name__)

PATIENCE = 10  # log lines


class IdleExperts:
    """Looks at the logged shares of a discriminator's experts (`d_expert_00`, ...), and tells which ones are dead."""

    def __init__(self, patience: int = PATIENCE) -> None:
        self._patience = patience
        self._idle: dict[str, int] = {}  # log lines in a row in which an expert was sent nothing

    def look(self, values: Mapping[str, float], iteration: int) -> None:
        """Takes note of a log line's values, of all ranks; warns once about each expert that has been idle for long."""
        for name, share in values.items():
            if re.fullmatch(r'd_expert_\d+(_\w+)?', name):
                self._idle[name] = 0 if share else self._idle.get(name, 0) + 1
        dead = [name.removeprefix('d_expert_') for name, lines in self._idle.items() if lines == self._patience]
        if dead:
            logger.warning(
                'iteration %d: experts that were sent no part of an image for %d log lines, and learn nothing: %s. '
                'A larger balance_weight of network_d spreads images over more experts; num_expert may be smaller',
                iteration, self._patience, ', '.join(dead),
            )  # fmt: skip
