"""Ends the process when a transaction does not return.

`send_offsets_to_transaction` of librdkafka may block past its time-out, for ever, when the group's coordinator dies
at the wrong moment (https://github.com/confluentinc/librdkafka/issues/5456). No call can be interrupted from outside;
but leaving the process is right whenever a transaction fails, and the next start goes on from what was committed.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streams.fenced.errors import TransactionFailed

log = logging.getLogger(__name__)

GRACE = 5.0
"""Seconds that a transaction may overrun: its last step, and an attempt to abort, have time-outs of their own."""
_LOOK = 0.5


def _leave(message: str) -> None:
    log.critical("%s", message)
    logging.shutdown()
    os._exit(TransactionFailed.exit_code)


class StuckGuard:
    """Looks every half second whether the work that is watched has overrun; then calls `leave`."""

    def __init__(self, leave: Callable[[str], None] = _leave, grace: float = GRACE) -> None:
        self._leave = leave
        self._grace = grace
        self._until: float | None = None
        self._thread: threading.Thread | None = None

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """What is done inside must end within `seconds` and the grace."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="stuck guard", daemon=True)
            self._thread.start()
        self._until = time.monotonic() + seconds + self._grace
        try:
            yield
        finally:
            self._until = None

    def _look(self) -> None:
        while True:
            time.sleep(_LOOK)
            until = self._until
            if until is not None and time.monotonic() > until:
                self._leave(
                    "a transaction did not return in time, although it was told to: the process leaves, and the next "
                    "start goes on from what was committed"
                )
                return
