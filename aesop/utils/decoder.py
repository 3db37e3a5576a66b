"""libjpeg's warnings about corrupt data, which it decodes as far as it can and reports on standard error only."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

_WARNING = re.compile(rb'(?:Corrupt JPEG data|Premature end of JPEG file|Invalid SOS parameters)[^\n]*')
_DECODE = 'import sys, cv2, numpy; cv2.imdecode(numpy.frombuffer(sys.stdin.buffer.read(), numpy.uint8), 1)'


class _StandardError:
    """File descriptor 2 of this process, redirected to a file while any thread is decoding."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.decoding = 0  # threads
        self.overlapped = False  # more than one at some point since the file was started
        self.terminal = -1  # the original descriptor 2
        self.file: Any = None  # begun with the first image

    def redirect(self) -> int:
        """Returns the current end of the file."""
        if self.decoding == 0:
            self.file = self.file or tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  (for all images to come)
            self.terminal = os.dup(2)
            os.dup2(self.file.fileno(), 2)
        self.decoding += 1
        self.overlapped |= self.decoding > 1
        return self.file.seek(0, os.SEEK_END)

    def restore(self) -> None:
        """Undoes `redirect` after the last thread, and forwards what others have written in the meantime."""
        self.decoding -= 1
        if self.decoding == 0:
            os.dup2(self.terminal, 2)
            self.file.seek(0)
            if others := _WARNING.sub(b'', self.file.read()).strip(b'\n'):
                os.write(self.terminal, others + b'\n')
            os.close(self.terminal)
            self.file.seek(0)
            self.file.truncate()
            self.overlapped = False

    def after_fork(self) -> None:
        """A child process starts with its own file and a single thread."""
        if self.decoding:
            os.dup2(self.terminal, 2)
        self.__init__()


_standard_error = _StandardError()
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=lambda: _standard_error.after_fork())


@contextmanager
def decoder_warnings(data: bytes) -> Iterator[list[str]]:
    """Collects libjpeg's warnings about `data`, the bytes of an image file decoded inside; filled in on exit."""
    warnings: list[str] = []
    if not data.startswith(b'\xff\xd8'):
        yield warnings
        return
    here = _standard_error
    try:
        with here.lock:
            start = here.redirect()
    except OSError:  # no standard error, or no space for a file
        yield warnings
        return
    try:
        yield warnings
    finally:
        with here.lock:
            here.file.seek(start)
            found, overlapped = _WARNING.findall(here.file.read()), here.overlapped
            here.restore()
    if found and overlapped:  # they may be about another thread's image
        command = [sys.executable, '-c', _DECODE]
        found = _WARNING.findall(subprocess.run(command, input=data, capture_output=True, check=False).stderr)
    warnings += [warning.decode() for warning in found]
