"""One broker a data directory, and a note where to reach it.

The lock (`flock(2)`) is held on a descriptor that the broker's process inherits, so it lasts exactly as long
as a process that uses the directory: whatever dies how, the next start finds the truth.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from streams.errors import BrokerAlreadyRunning

NAME = "broker.lock"


@dataclass(frozen=True, slots=True)
class Running:
    """A broker that runs: its process and its address."""

    pid: int
    bootstrap: str


class DirectoryLock:
    """The right to run a broker on one data directory."""

    def __init__(self, directory: Path, fd: int) -> None:
        self.directory = directory
        self.fd = fd

    def note(self, running: Running) -> None:
        """Write down for other processes where the broker is reached."""
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, json.dumps(asdict(running)).encode(), 0)

    def release(self) -> None:
        """Close our descriptor; the lock itself ends with the last process that inherited it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def lock(directory: Path, patience: float = 2.0) -> DirectoryLock:
    """Take the directory, waiting up to `patience` seconds for a predecessor that is just ending.

    Raises BrokerAlreadyRunning.
    """
    directory.mkdir(parents=True, exist_ok=True)
    fd = os.open(directory / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + patience
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return DirectoryLock(directory, fd)
        if time.monotonic() > deadline:
            holder = _read(fd)
            os.close(fd)
            who = f"process {holder.pid}, at {holder.bootstrap}" if holder else "another process"
            raise BrokerAlreadyRunning(
                f"A broker already runs on {directory} ({who}). "
                "Use that one, stop it first, or give this start a data directory of its own."
            )
        time.sleep(0.02)


def running(directory: Path) -> Running | None:
    """The broker that runs on this directory now, or None. Reads only."""
    try:
        fd = os.open(directory / NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(fd)
    else:
        return None
    finally:
        os.close(fd)


def _read(fd: int) -> Running | None:
    try:
        data = json.loads(os.pread(fd, 4096, 0))
        return Running(int(data["pid"]), str(data["bootstrap"]))
    except (ValueError, KeyError, TypeError):
        return None
