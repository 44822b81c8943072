"""How a worker tells its supervisor that it still finishes, after it was asked to end.

The supervisor names a file in the environment; the worker writes there how many messages it waits for, again and
again while it does. One that stops writing has nothing left to finish, or hangs.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

ENV = "RAMPA_FINISHING"
"""The variable that names the file."""
EVERY = 0.5
"""Seconds between two words of a worker."""


class Finishing:
    """The worker's side. Without a supervisor nobody is told."""

    def __init__(self, path: str | None = None, now: Callable[[], float] = time.monotonic) -> None:
        """`path`: default: what the environment names."""
        self._path = path or os.environ.get(ENV)
        self._now = now
        self._said = float("-inf")

    def tell(self, messages: int) -> None:
        """So many messages are waited for. Cheap, so it may be said as often as one likes; zero says nothing."""
        now = self._now()
        if not messages or not self._path or now - self._said < EVERY:
            return
        self._said = now
        with contextlib.suppress(OSError):
            Path(self._path).write_text(f"{messages}\n", encoding="ascii")


class Heard:
    """The supervisor's side, for one worker that was asked to end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = _stamp(path)

    def news(self) -> int | None:
        """How many messages it waits for, when it has said so since this was asked last; None otherwise."""
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return None
        try:
            found = int(self._path.read_text(encoding="ascii"))
        except (OSError, ValueError):  # it is just being written
            return None
        self._stamp = stamp
        return found


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
