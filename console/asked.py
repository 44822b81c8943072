"""Asked to end: first to finish what is begun, then at once."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

APART = 1.0
"""Seconds: a signal that comes sooner is the first one, which the shell and a wrapper have both passed on."""


class Asked:
    """Counts signals."""

    def __init__(
        self, finish: Callable[[], object], hurry: Callable[[], object], now: Callable[[], float] = monotonic
    ) -> None:
        self._finish = finish
        self._hurry = hurry
        self._now = now
        self._first: float | None = None

    def once_more(self) -> None:
        """A signal has come."""
        if self._first is None:
            self._first = self._now()
            self._finish()
        elif self._now() - self._first >= APART:
            self._hurry()
