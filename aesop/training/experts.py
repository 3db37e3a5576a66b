"""Warns about idle experts of a mixture, which do not show in the losses."""

import logging
import re
from collections.abc import Mapping

logger = logging.getLogger(__name__)

PATIENCE = 10  # log lines


class IdleExperts:
    """Monitors the logged shares of a discriminator's experts (`d_expert_00`, ...) and reports idle ones."""

    def __init__(self, patience: int = PATIENCE) -> None:
        self._patience = patience
        self._idle: dict[str, int] = {}  # consecutive log lines in which an expert received no tokens

    def look(self, values: Mapping[str, float], iteration: int) -> None:
        """Updates with the values of a log line, of all ranks; warns once about each expert idle for too long."""
        for name, share in values.items():
            if re.fullmatch(r'd_expert_\d+(_\w+)?', name):
                self._idle[name] = 0 if share else self._idle.get(name, 0) + 1
        dead = [name.removeprefix('d_expert_') for name, lines in self._idle.items() if lines == self._patience]
        if dead:
            logger.warning(
                'iteration %d: experts that received no part of an image for %d log lines and learn nothing: %s. '
                'Increase balance_weight of network_d to spread images over more experts, or reduce num_expert',
                iteration, self._patience, ', '.join(dead),
            )  # fmt: skip
