"""Which events prove that a provider took a message."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest

from schemas.event import EventType, MailEvent
from schemas.evidence import evidence_of


def event(kind: EventType) -> MailEvent:
    return MailEvent(
        event_id=f"c/2/7:{kind}:0.1", event_type=kind, event_time=datetime(2026, 2, 2, tzinfo=UTC), campaign_id="c",
        batch_number=2, recipient_index=7, recipient="a@b.example", sending_domain="bore.example",
        recipient_domain="b.example", relay="main",
    )  # fmt: skip


@pytest.mark.parametrize("kind", get_args(EventType))
def test_what_only_a_taken_message_can_bring_is_evidence(kind: EventType) -> None:
    found = evidence_of(event(kind))
    assert (found is None) == (kind in {"accepted", "deferred", "suppressed", "failed", "in_doubt", "cancelled"})
    if found is not None:
        assert (found.relay, found.campaign_id, found.batch_number, found.recipient_index) == ("main", "c", 2, 7)
        assert found.event_id == f"c/2/7:{kind}:0.1"
