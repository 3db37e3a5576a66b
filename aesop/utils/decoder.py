"""What libjpeg says of damaged data: it decodes what it can, and tells of the rest on standard error alone."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_COMPLAINT = re.compile(rb'(?:Corrupt JPEG data|Premature end of JPEG file|Invalid SOS parameters)[^\n]*')
_DECODE = 'import sys, cv2, numpy; cv2.imdecode(numpy.frombuffer(sys.stdin.buffer.read(), numpy.uint8), 1)'


class _StandardError:
    """Descriptor 2 of this process, which is turned to a file while any thread decodes."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.decoding = 0  # threads
        self.crowded = False  # more than one at some time since the file was begun
        self.terminal = -1  # where descriptor 2 led before
        self.file = None

    def turn_aside(self) -> int:
        """Where the file ends now."""
        if self.decoding == 0:
            self.file = self.file or tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  (for all images to come)
            self.terminal = os.dup(2)
            os.dup2(self.file.fileno(), 2)
        self.decoding += 1
        self.crowded |= self.decoding > 1
        return self.file.seek(0, os.SEEK_END)

    def turn_back(self) -> None:
        """After the last thread; what others have written in the meantime goes where it belongs."""
        self.decoding -= 1
        if self.decoding == 0:
            os.dup2(self.terminal, 2)
            self.file.seek(0)
            if others := _COMPLAINT.sub(b'', self.file.read()).strip(b'\n'):
                os.write(self.terminal, others + b'\n')
            os.close(self.terminal)
            self.file.seek(0)
            self.file.truncate()
            self.crowded = False

    def after_fork(self) -> None:
        """A child process has a file of its own, and one thread."""
        if self.decoding:
            os.dup2(self.terminal, 2)
        self.__init__()


_standard_error = _StandardError()
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=lambda: _standard_error.after_fork())


@contextmanager
def complaints(data: bytes) -> Iterator[list[str]]:
    """Gets, at its end, libjpeg's complaints about `data`, an image file's content that is decoded inside."""
    heard: list[str] = []
    if not data.startswith(b'\xff\xd8'):
        yield heard
        return
    here = _standard_error
    try:
        with here.lock:
            start = here.turn_aside()
    except OSError:  # there is no standard error, or no room for a file
        yield heard
        return
    try:
        yield heard
    finally:
        with here.lock:
            here.file.seek(start)
            found, crowded = _COMPLAINT.findall(here.file.read()), here.crowded
            here.turn_back()
    if found and crowded:  # they may be about another thread's image
        command = [sys.executable, '-c', _DECODE]
        found = _COMPLAINT.findall(subprocess.run(command, input=data, capture_output=True, check=False).stderr)
    heard += [complaint.decode() for complaint in found]
