"""What is said while a process that was asked to end waits for replies."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from streams.finishing import Finishing

log = logging.getLogger(__name__)

SAY = 10.0
"""Seconds between two lines of the log."""


class Farewell:
    """Tells the supervisor and the log how many messages are waited for, once `stop` is set."""

    def __init__(
        self, stop: threading.Event, on_wire: Callable[[], int], finishing: Finishing | None = None,
        now: Callable[[], float] = monotonic,
    ) -> None:  # fmt: skip
        self._stop = stop
        self._on_wire = on_wire
        self._finishing = finishing or Finishing()
        self._now = now
        self._said = float("-inf")

    def look(self) -> None:
        """Call it often."""
        if not self._stop.is_set() or not (messages := self._on_wire()):
            return
        self._finishing.tell(messages)
        if self._now() - self._said >= SAY:
            self._said = self._now()
            log.info("stopping: %d messages are on the wire; waiting for the replies of their servers", messages)
