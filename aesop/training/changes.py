"""What a run that goes on is asked to do otherwise than before: told, and refused where it makes another run of it."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from aesop.errors import UserError
from aesop.utils import distributed

logger = logging.getLogger(__name__)

ANOTHER_RUN = ('model_type', 'scale')  # and every network


def check_changes(before: dict[str, Any], now: dict[str, Any], keep: Sequence[str] = (), force: bool = False) -> None:
    """Tells which options are not those that the state was made with.

    Args:
        keep: networks that do not take their weights from the state, so that they, and what trains them, may differ.
        force: go on even with another network, model or scale.

    Raises:
        UserError: another network, model or scale, and no `force`.
    """
    changed = {key: f'{key} was {old}, and now it is {new}' for key, old, new in _differences(before, now)}
    kept = {*keep, *(['model_type'] if keep else [])}
    tops = {key: key.split('.')[0] for key in changed}
    dangerous = [
        key for key, top in tops.items() if (top in ANOTHER_RUN or top.startswith('network_')) and top not in kept
    ]
    if dangerous and not force:
        raise UserError(
            [
                *(f'{changed[key]}: that is another network or another run' for key in dangerous),
                'go on with the options that the state was made with, start from its weights with '
                'path.pretrain_network_g, or say --force if you know that it fits',
            ]
        )
    if changed and distributed.is_main():
        logger.warning('options changed since the state was saved: %s', '; '.join(changed.values()))


def _differences(before: Any, now: Any, key: str = '') -> Iterator[tuple[str, Any, Any]]:
    """Each key at which two nested dicts differ, with both values."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in {**before, **now}:
            yield from _differences(before.get(name), now.get(name), f'{key}.{name}' if key else name)
    elif before != now:
        yield key, before, now
