"""Taking the recipients of archived campaigns off their topic: tombstones for every part that anybody wrote of them.

What stands on the topic is read, from the time at which the first of the campaigns came: so the parts of a planner that
died in the middle, whose keys nobody has written down, are found as well. One pass serves all that wait. Doing it again
finds less, or nothing: a planner that dies in between costs a repetition.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from planner.writer import Producers, remove_parts
from schemas.topics import BATCH_RECIPIENTS
from streams.context import Context
from streams.table import TopicReader

log = logging.getLogger(__name__)

AGAIN = 10.0
"""Real seconds until a pass that failed is tried again."""
SKEW = timedelta(hours=1)
"""Of real time: how far the clocks of machines, and what is rounded, may be apart."""


class Clearing:
    """Passes over the topic, one at a time, in a thread. For one event loop; `wake` is called from the thread."""

    def __init__(self, ctx: Context, producers: Producers, wake: Callable[[], None]) -> None:
        self._ctx = ctx
        self._producers = producers
        self._wake = wake
        self._wanted: dict[str, datetime] = {}
        self._done: set[str] = set()
        self._thread: threading.Thread | None = None
        self._not_before = 0.0
        self._stop = threading.Event()

    def cleared(self, campaign_id: str, since: datetime) -> bool:
        """Whether nothing of the campaign, which came at `since`, is left; if not, the next pass sees to it."""
        if campaign_id in self._done:
            return True
        self._wanted[campaign_id] = since
        return False

    def forget(self, campaign_id: str) -> None:
        """It is over, or another's."""
        self._wanted.pop(campaign_id, None)
        self._done.discard(campaign_id)

    def go(self) -> None:
        """Begin a pass for those that wait, unless one is at work."""
        busy = self._thread is not None and self._thread.is_alive()
        if not self._wanted or busy or time.monotonic() < self._not_before:
            return
        wanted = dict(self._wanted)
        self._thread = threading.Thread(target=self._pass, args=(wanted,), name="clear recipients", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End a pass that is at work; the next owner of its campaigns makes it again."""
        self._stop.set()

    def _pass(self, wanted: Mapping[str, datetime]) -> None:
        try:
            remove_recipients(self._ctx, self._producers, wanted, self._stop.is_set)
        except Exception:
            log.exception("recipients of archived campaigns could not be removed; it is tried again")
            self._not_before = time.monotonic() + AGAIN
            return
        if not self._stop.is_set():
            for campaign_id in wanted:
                self._wanted.pop(campaign_id, None)
            self._done.update(wanted)
            self._wake()


def remove_recipients(
    ctx: Context, producers: Producers, since: Mapping[str, datetime], stop: Callable[[], bool] = lambda: False
) -> int:
    """Tombstones for all parts of these campaigns, each of which came at its time; how many parts that were.

    Blocks. Raises errors of Kafka, and `DeliveryFailed`.
    """
    reader = TopicReader(ctx.kafka, ctx.topic(BATCH_RECIPIENTS), since=_real(ctx, min(since.values())))
    standing: dict[bytes, None] = {}
    try:
        while not reader.at_end:
            if stop():
                return 0
            for record in reader.read(0.5):
                key = record.key or b""
                if key.partition(b"/")[0].decode(errors="replace") not in since:
                    continue
                if record.value is None:
                    standing.pop(key, None)
                else:
                    standing[key] = None
    finally:
        reader.close()
    remove_parts(ctx, producers, list(standing))
    log.info("%d parts of %d campaigns were removed", len(standing), len(since))
    return len(standing)


def _real(ctx: Context, at: datetime) -> float:
    """Unix seconds of real time, rather early than late, at which the installation's clock showed `at`."""
    return time.time() - ctx.clock.real_seconds(max(timedelta(0), ctx.clock.now() - at)) - SKEW.total_seconds()
