"""Events and rows written by hand are what the models would write."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st
from journals import NOON, chunk

from schemas.event import MailEvent
from schemas.identity import event_id
from schemas.journal import JournalEntry
from sender.events import event_value
from sender.journal import core, rows
from sender.journal.values import Ended, Fact


@given(
    st.text(), st.text(), st.integers(0, 599), st.dictionaries(st.text(), st.text()), st.integers(0, 10**9),
    st.sampled_from(["accepted", "failed", "in_doubt", "suppressed"]),
)  # fmt: skip
def test_an_event_is_what_its_model_would_encode(
    email: str, text: str, code: int, tags: dict[str, str], micros: int, kind: Any
) -> None:
    at = NOON + timedelta(microseconds=micros)
    ended = Ended(7, kind, at, 2, email, "<id@x>", code, "5.1.1", text, "bad_mailbox", "q1")
    value = event_value(Fact(kind, ended, 1, 3), "c", 2, relay="main", sending_domain="bore.example", tags=tags)
    model = MailEvent(
        event_id=event_id("c", 2, 7, kind, 1, 3), event_type=kind, event_time=at, campaign_id="c", batch_number=2,
        recipient_index=7, recipient=email, sending_domain="bore.example",
        recipient_domain=email.rpartition("@")[2].lower(), relay="main", message_id="<id@x>",
        provider_message_id="q1", attempt=3, smtp_code=code, enhanced_code="5.1.1", reason="bad_mailbox",
        diagnostic=text, tags=tags,
    )  # fmt: skip
    assert value == model.encode()


def test_a_window_row_is_what_its_model_would_encode() -> None:
    journal, _, _ = core.take_permit(None, chunk(ranges=((0, 60),), size=60), NOON)
    journal, _ = core.begin(journal, 55, NOON)
    written = dict(rows.changes(None, journal, NOON))
    for key in (b"c/1#0", b"c/1#50"):
        value = written[key] or b""
        assert orjson.loads(JournalEntry.decode(value).encode()) == orjson.loads(value)
        assert list(orjson.loads(JournalEntry.decode(value).encode())) == list(orjson.loads(value))
