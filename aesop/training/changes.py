"""Changed options of a resumed run: logged, and rejected if they make it a different run."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from aesop.errors import UserError
from aesop.utils import distributed

logger = logging.getLogger(__name__)

ANOTHER_RUN = ('model_type', 'scale')  # and every network


def check_changes(before: dict[str, Any], now: dict[str, Any], keep: Sequence[str] = (), force: bool = False) -> None:
    """Logs which options differ from those in the state.

    Args:
        keep: networks that are not restored from the state, so that they and their training options may differ.
        force: resume even with a different network, model or scale.

    Raises:
        UserError: a different network, model or scale without `force`.
    """
    changed = {key: f'{key} was {old} and is now {new}' for key, old, new in _differences(before, now)}
    kept = {*keep, *(['model_type'] if keep else [])}
    tops = {key: key.split('.')[0] for key in changed}
    dangerous = [
        key for key, top in tops.items() if (top in ANOTHER_RUN or top.startswith('network_')) and top not in kept
    ]
    if dangerous and not force:
        raise UserError(
            [
                *(f'{changed[key]}: that is a different network or run' for key in dangerous),
                'resume with the options of the state, start from its weights with path.pretrain_network_g, or pass '
                '--force if you know that it fits',
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
