"""JSON without NaN, and JSON Lines files that grow during a run."""

import contextlib
import json
import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aesop.utils.files import write_text

logger = logging.getLogger(__name__)


def json_safe(data: Any) -> Any:
    """`data` for JSON, which has no NaN and Infinity: they become the strings "nan", "inf" and "-inf"."""
    if isinstance(data, dict):
        return {key: json_safe(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [json_safe(value) for value in data]
    return str(data) if isinstance(data, float) and not math.isfinite(data) else data


class JSONLWriter:
    """Appends to a JSON Lines file; lines that cannot be written (full disk) are retried with the next one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unwritten = ''

    def add(self, entry: dict[str, Any]) -> None:
        self._unwritten += json.dumps(json_safe(entry), allow_nan=False) + '\n'
        self.flush()

    def keep(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Keeps the lines for which `wanted` is true; drops truncated and corrupt ones."""
        if not self.path.exists():
            return
        kept = []
        for line in self.path.read_bytes().splitlines():
            try:
                if wanted(json.loads(line)):
                    kept.append(line.decode() + '\n')
            except (ValueError, LookupError, TypeError):  # not JSON, not UTF-8, or no such entry
                logger.warning('%s: dropped a truncated or corrupt line', self.path)
        write_text(self.path, ''.join(kept))

    def flush(self) -> None:
        if not self._unwritten:
            return
        size = self.path.stat().st_size if self.path.exists() else 0
        try:
            with open(self.path, 'a', encoding='utf-8') as file:
                file.write(self._unwritten)
                file.flush()
                os.fsync(file.fileno())
            self._unwritten = ''
        except OSError as error:
            logger.error('%s could not be written (%s); its last lines will be retried', self.path, error)
            with contextlib.suppress(OSError):
                os.truncate(self.path, size)  # no half lines


class Journal:
    """Finished work items, one JSON line each, so that an interrupted job can continue where it stopped.

    Args:
        path: created on the first write. A truncated last line is dropped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[str, Any] = {}
        whole = 0
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                try:
                    key, record = json.loads(line)
                except (ValueError, TypeError):
                    break
                if not line.endswith(b'\n'):
                    break
                self.records[key] = record
                whole += len(line)
            os.truncate(path, whole)

    def add(self, key: str, record: Any) -> None:  # noqa: ANN401
        self.records[key] = record
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, 'ab') as file:
            file.write(json.dumps([key, record]).encode() + b'\n')
