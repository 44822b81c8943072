"""A file that one process holds at a time (`flock(2)`), in which it says who it is.

The lock lasts exactly as long as a process that has the descriptor: whatever dies how, the next one finds the truth.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from streams.errors import LockTaken

MAX_NOTE = 4096
"""Octets of a note that are read."""
_LOOK_AGAIN = 0.02


class LockFile:
    """A lock that is held, also when this object is forgotten. A child that inherits `fd` holds it as well."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def note(self, text: str) -> None:
        """Tell whoever finds the file locked, instead of what was told before."""
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, text.encode(), 0)

    def release(self) -> None:
        """Close our descriptor; the lock itself ends with the last process that inherited it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def take(file: Path, patience: float = 0.0) -> LockFile:
    """Lock `file`, which is made when it is not there; held until `release` or this process's end.

    Waits up to `patience` real seconds for a holder that is just ending. Raises LockTaken with that one's note, and
    OSError when the file cannot be made.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + patience
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return LockFile(fd)
        if time.monotonic() >= deadline:
            note = _note(fd)
            os.close(fd)
            raise LockTaken(f"{file} is held by another process; end that one, or wait for it.", note)
        time.sleep(_LOOK_AGAIN)


def holders_note(file: Path) -> str | None:
    """What the holder of `file` tells; None when nobody holds it. Changes nothing."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _note(fd)
    else:
        return None
    finally:
        os.close(fd)


def _note(fd: int) -> str:
    return os.pread(fd, MAX_NOTE, 0).decode(errors="replace")
