"""One broker a data directory, and a note where to reach it.

The lock is held on a descriptor that the broker's process inherits, so it lasts exactly as long as a process that
uses the directory.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from streams import lockfile
from streams.errors import BrokerAlreadyRunning, LockTaken
from streams.lockfile import LockFile

NAME = "broker.lock"


@dataclass(frozen=True, slots=True)
class Running:
    """A broker that runs: its process and its address."""

    pid: int
    bootstrap: str

    def note(self) -> str:
        """What its lock tells other processes."""
        return json.dumps(asdict(self))


def lock(directory: Path, patience: float = 2.0) -> LockFile:
    """The right to run a broker on `directory`; waits up to `patience` seconds for one that is just ending.

    Raises BrokerAlreadyRunning.
    """
    try:
        return lockfile.take(directory / NAME, patience)
    except LockTaken as e:
        holder = _read(e.note)
        who = f"process {holder.pid}, at {holder.bootstrap}" if holder else "another process"
        raise BrokerAlreadyRunning(
            f"A broker already runs on {directory} ({who}). "
            "Use that one, stop it first, or give this start a data directory of its own."
        ) from None


def running(directory: Path) -> Running | None:
    """The broker that runs on this directory now, or None. Reads only."""
    note = lockfile.holders_note(directory / NAME)
    return None if note is None else _read(note)


def _read(note: str) -> Running | None:
    try:
        data = json.loads(note)
        return Running(int(data["pid"]), str(data["bootstrap"]))
    except (ValueError, KeyError, TypeError):
        return None
