"""Records as they were written: a dead letter holds them byte for byte, though only their meaning travels on.

What a person wrote is known by its origin (topic, partition, offset) all the way; it is read again there when it has
to become a dead letter, which is seldom.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from schemas.command import Origin
from streams.clients import Kafka
from streams.errors import BrokerUnavailable, RecordGone
from streams.fenced.model import Input
from streams.fetch import Fetcher

log = logging.getLogger(__name__)

TRIES = 3


class Originals:
    """Reads records again, in a thread of its own. For one event loop."""

    def __init__(self, kafka: Kafka) -> None:
        self._fetcher = Fetcher(kafka, "originals")
        self._thread = ThreadPoolExecutor(1, "originals")

    async def read(self, origin: Origin) -> Input | None:
        """The record at `origin`; None when it is not to be had any more (its topic keeps it for days)."""
        for _ in range(TRIES):
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._fetcher.fetch, origin.topic, origin.partition, origin.offset
                )
            except RecordGone:
                return None
            except BrokerUnavailable as e:
                log.warning("a record that is refused: %s", e)
        return None

    def close(self) -> None:
        """Leave the broker, when what is being read is there."""
        self._thread.submit(self._fetcher.close)
        self._thread.shutdown(wait=False)
