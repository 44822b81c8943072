"""`mail.events` as the sender writes them: facts about messages, one record each, under the batch id. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC
from functools import lru_cache

import orjson

from schemas.base import Header
from schemas.event import MailEvent
from schemas.identity import around_index
from sender.journal.values import Fact

HEADERS: tuple[Header, ...] = MailEvent.headers()
DOMAINS_KEPT = 1000
"""Domains of recipients that are kept encoded, of each relay and sending domain."""


def event_values(
    facts: Iterable[Fact], campaign_id: str, batch_number: int, *, relay: str, sending_domain: str,
    tags: Mapping[str, str],
) -> list[bytes]:  # fmt: skip
    """The `MailEvent`s of facts about one batch, encoded, in their order.

    By hand, because there is one for each message; a test holds it to `MailEvent.encode`. What many have in common
    is encoded once, fields that follow one another as the value of the first of them.
    """
    values: list[bytes] = []
    domains, dumps, option, utc = _domains(relay, sending_domain), orjson.dumps, orjson.OPT_UTC_Z, UTC
    event = _template(campaign_id, batch_number, tags)
    before = after = kind = enhanced = reason = ""
    attempt = round_ = code = 0
    for fact in facts:
        e = fact.ended
        if e.code != code or fact.attempt != attempt or e.enhanced != enhanced or e.reason != reason:
            code, attempt, enhanced, reason, kind = e.code, fact.attempt, e.enhanced, e.reason, ""
            event["attempt"] = _reply(attempt, code, enhanced, reason)
        if fact.type != kind or fact.round != round_:
            event["event_type"] = kind = fact.type
            round_ = fact.round
            before, after = around_index(campaign_id, batch_number, kind, round_, attempt)
        email, index, at = e.email, e.index, e.at
        domain = email[email.rfind("@") + 1 :]
        event["event_id"] = before + str(index) + after
        event["event_time"] = at if at.tzinfo is utc else at.astimezone(utc)
        event["recipient_index"] = index
        event["recipient"] = email
        event["sending_domain"] = domains.get(domain) or _kept(domains, domain, relay, sending_domain)
        event["message_id"] = e.message_id
        event["provider_message_id"] = e.provider_id
        event["diagnostic"] = e.text
        values.append(dumps(event, option=option))
    return values


def _template(campaign_id: str, batch_number: int, tags: Mapping[str, str]) -> dict[str, object]:
    """An event of the batch, in the order of its fields, with no reply yet; what is None is filled in for each."""
    return {
        "event_id": None, "event_type": None, "event_time": None,
        "campaign_id": _together({"campaign_id": campaign_id, "batch_number": batch_number}),
        "recipient_index": None, "recipient": None, "sending_domain": None, "message_id": None,
        "provider_message_id": None, "attempt": _reply(0, 0, "", ""), "diagnostic": None,
        "link": _together({"link": "", "user_agent": "", "ip": "", "is_machine": False, "tags": tags}),
    }  # fmt: skip


def _reply(attempt: int, code: int, enhanced: str, reason: str) -> orjson.Fragment:
    return _together({"attempt": attempt, "smtp_code": code, "enhanced_code": enhanced, "reason": reason})


@lru_cache(maxsize=16)
def _domains(relay: str, sending_domain: str) -> dict[str, orjson.Fragment]:  # noqa: ARG001 - what it is kept for
    """By domain as recipients write it: what `_kept` made of it."""
    return {}


def _kept(kept: dict[str, orjson.Fragment], domain: str, relay: str, sending_domain: str) -> orjson.Fragment:
    if len(kept) >= DOMAINS_KEPT:
        kept.clear()
    made = _together(
        {"sending_domain": sending_domain, "recipient_domain": domain.lower(), "provider": "", "relay": relay}
    )
    kept[domain] = made
    return made


def _together(fields: Mapping[str, object]) -> orjson.Fragment:
    """Fields that follow one another, as the value of the first."""
    first = len(next(iter(fields)))
    return orjson.Fragment(orjson.dumps(fields)[first + len('{"":') : -1])
