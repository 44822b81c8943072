"""What a handler cannot use is a dead letter before the partition goes on, however long that takes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from schemas.topics import Topic
from streams import faust_app
from streams.clients import Place
from streams.clock import ManualClock
from streams.errors import DeliveryFailed
from streams.faust_app import Handled, Life, Refused
from streams.fenced.model import Input, Output
from streams.outbox import OutboxBroken

IN = Topic("in", "key", (), (), (), "inputs", dead_letters=True)
RECORD = Input("in", 0, 7, b"k", b"v", (), 0)


class Reluctant:
    """An outbox whose broker refuses the first records."""

    def __init__(self, refusals: list[DeliveryFailed]) -> None:
        self.refusals = refusals
        self.written: list[Output] = []

    async def send(self, outputs: Sequence[Output]) -> list[Place]:
        if self.refusals:
            raise self.refusals.pop(0)
        self.written += outputs
        return []


def guard(outbox: Reluctant) -> Any:
    async def refuse(_: Input) -> Handled:
        raise Refused("of no use")

    ctx = SimpleNamespace(topic=lambda t: t.name, clock=ManualClock(datetime(2026, 2, 2, tzinfo=UTC)))
    return faust_app._Guard(cast("Life", SimpleNamespace(ctx=ctx, outbox=outbox)), IN, refuse)


def test_a_dead_letter_that_the_broker_refuses_is_written_when_it_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faust_app, "RETRY_AFTER", 0.001)
    outbox = Reluctant([DeliveryFailed("too large", 1), DeliveryFailed("not enough replicas", 1)])
    asyncio.run(guard(outbox)._settle(RECORD))
    assert [(o.topic, o.key, o.value) for o in outbox.written] == [("in.dlq", b"k", b"v")]


def test_a_producer_beyond_use_ends_the_app_before_the_record_counts_as_read() -> None:
    with pytest.raises(OutboxBroken):
        asyncio.run(guard(Reluctant([OutboxBroken("fatal", 1)]))._settle(RECORD))
