"""Permits and times for tests of the sender."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.batch import Pointer, Range
from schemas.chunk import BatchControl, Chunk
from schemas.event import MailEvent
from streams.fenced import Effects

NOON = datetime(2026, 2, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def chunk(number: int = 1, ranges: Sequence[Range] = ((0, 10),), size: int = 10, **more: Any) -> Chunk:
    """The permit `main:<number>` for batch 1 of campaign c."""
    values: dict[str, Any] = {
        "permit_id": f"main:{number:012d}",
        "relay": "main",
        "campaign_id": "c",
        "batch_number": 1,
        "batch_size": size,
        "ranges": tuple(ranges),
        "pointers": (Pointer(partition=0, offset=0, start=0, count=size),),
        "content_hash": "hash",
        "checksum": "sum",
        "sending_domain": "bore.example",
        "day_timezone": "UTC",
        "connections": 2,
        "until": NOON + HOUR,
        "issued_at": NOON,
    }
    return Chunk(**(values | more))


def control(action: str, version: int, **more: Any) -> BatchControl:
    """An order to the owner of batch 1 of campaign c."""
    values: dict[str, Any] = {"relay": "main", "campaign_id": "c", "batch_number": 1, "at": NOON}
    return BatchControl(action=action, version=version, **(values | more))


def mail_events(effects: Effects) -> list[MailEvent]:
    """The events among what a transaction produces."""
    return [MailEvent.decode(v) for _, alike in effects.bulk if alike.topic == "mail.events" for v in alike.values]
