"""`mail.events` as the sender writes them: facts about messages, one record each, under the batch id. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC

import orjson

from schemas.base import Header
from schemas.event import MailEvent
from schemas.identity import event_id
from sender.journal.values import Fact

HEADERS: tuple[Header, ...] = MailEvent.headers()


def event_value(
    fact: Fact, campaign_id: str, batch_number: int, *, relay: str, sending_domain: str, tags: Mapping[str, str]
) -> bytes:
    """The `MailEvent` of a fact, encoded.

    By hand, because there is one for each message; a test holds it to `MailEvent.encode`.
    """
    e = fact.ended
    if e.at.tzinfo is not UTC:
        e = e._replace(at=e.at.astimezone(UTC))
    return orjson.dumps(
        {
            "event_id": event_id(campaign_id, batch_number, e.index, fact.type, fact.round, fact.attempt),
            "event_type": fact.type,
            "event_time": e.at,
            "campaign_id": campaign_id,
            "batch_number": batch_number,
            "recipient_index": e.index,
            "recipient": e.email,
            "sending_domain": sending_domain,
            "recipient_domain": e.email.rpartition("@")[2].lower(),
            "provider": "",
            "relay": relay,
            "message_id": e.message_id,
            "provider_message_id": e.provider_id,
            "attempt": fact.attempt,
            "smtp_code": e.code,
            "enhanced_code": e.enhanced,
            "reason": e.reason,
            "diagnostic": e.text,
            "link": "",
            "user_agent": "",
            "ip": "",
            "is_machine": False,
            "tags": tags,
        },
        option=orjson.OPT_UTC_Z,
    )
