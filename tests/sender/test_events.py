"""Events and rows written by hand are what the models would write."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import orjson
from hypothesis import given
from hypothesis import strategies as st
from journals import NOON, chunk

from schemas.event import MailEvent
from schemas.identity import event_id
from schemas.journal import JournalEntry
from sender import events
from sender.events import event_values
from sender.journal import core, rows
from sender.journal.values import Ended, Fact

EMAILS = st.one_of(st.text(), st.sampled_from(["Ada@X.example", "bob@x.example", "x.example", "@", ""]))
OUTCOMES = st.builds(
    Ended,
    index=st.integers(0, 10**6),
    kind=st.sampled_from(["accepted", "failed", "in_doubt", "suppressed", "deferred"]),
    at=st.builds(lambda micros: NOON + timedelta(microseconds=micros), st.integers(0, 10**9)),
    tries=st.integers(0, 3),
    email=EMAILS,
    message_id=st.text(),
    code=st.sampled_from([0, 250, 550, -1]),
    enhanced=st.sampled_from(["", "5.1.1", '"']),
    text=st.text(),
    reason=st.sampled_from(["", "bad_mailbox"]),
    provider_id=st.text(),
)
FACTS = st.builds(
    lambda e, round_, attempt: Fact(e.kind, e, round_, attempt), OUTCOMES, st.integers(0, 2), st.integers(0, 2)
)
NAMES = st.sampled_from(["c", "7", 'quoted "name"'])


@given(st.lists(FACTS, max_size=8), st.dictionaries(st.text(), st.text()), NAMES, NAMES)
def test_events_are_what_their_model_would_encode(
    facts: list[Fact], tags: dict[str, str], relay: str, domain: str
) -> None:
    values = event_values(facts, "c", 2, relay=relay, sending_domain=domain, tags=tags)
    assert values == [_model(fact, tags, relay, domain).encode() for fact in facts]


def _model(fact: Fact, tags: dict[str, str], relay: str, domain: str) -> MailEvent:
    e = fact.ended
    return MailEvent(
        event_id=event_id("c", 2, e.index, fact.type, fact.round, fact.attempt), event_type=fact.type, event_time=e.at,
        campaign_id="c", batch_number=2, recipient_index=e.index, recipient=e.email, sending_domain=domain,
        recipient_domain=e.email.rpartition("@")[2].lower(), relay=relay, message_id=e.message_id,
        provider_message_id=e.provider_id, attempt=fact.attempt, smtp_code=e.code, enhanced_code=e.enhanced,
        reason=e.reason, diagnostic=e.text, tags=tags,
    )  # fmt: skip


def test_of_many_domains_of_recipients_some_are_kept() -> None:
    facts = [Fact("accepted", Ended(i, "accepted", NOON, email=f"a@{i}.example"), 0, 1) for i in range(2_500)]
    values = event_values(facts, "c", 2, relay="main", sending_domain="many.example", tags={})
    assert [MailEvent.decode(v).recipient_domain for v in values] == [f"{i}.example" for i in range(2_500)]
    assert len(events._domains("main", "many.example")) <= events.DOMAINS_KEPT


def test_a_time_in_another_zone_is_told_in_utc() -> None:
    at = NOON.astimezone(ZoneInfo("Asia/Tokyo"))
    facts = [Fact("accepted", Ended(0, "accepted", at), 0, 1)]
    [value] = event_values(facts, "c", 2, relay="m", sending_domain="d", tags={})
    assert orjson.loads(value)["event_time"] == "2026-02-02T12:00:00Z"


def test_a_window_row_is_what_its_model_would_encode() -> None:
    journal, _, _ = core.take_permit(None, chunk(ranges=((0, 60),), size=60), NOON)
    journal, _ = core.begin(journal, 55, NOON)
    written = dict(rows.changes(None, journal, NOON))
    for key in (b"c/1#0", b"c/1#50"):
        value = written[key] or b""
        assert orjson.loads(JournalEntry.decode(value).encode()) == orjson.loads(value)
        assert list(orjson.loads(JournalEntry.decode(value).encode())) == list(orjson.loads(value))
