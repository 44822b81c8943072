"""What the tests of this directory share: a campaign, and reading back what was written."""

from __future__ import annotations

import email
import re
from datetime import UTC, date, datetime
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default
from typing import Any

from schemas.campaign import Campaign, RecipientSource, ResolvedSchedule, ResolvedTemplate, SourceFingerprint
from schemas.message_name import MessageName
from schemas.request import Tracking
from schemas.strategy import Step, Strategy
from sender.message.compile import compile_message
from sender.message.envelope import Envelope

NOON = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)
DAY = date(2026, 2, 2)
KEY = b"a key of the tests" * 2


def campaign(**changes: Any) -> Campaign:
    template = ResolvedTemplate(
        subject=changes.pop("subject", "Hola {{ first_name }}"),
        html=changes.pop("html", "<p>Hola {{ first_name }}</p>"),
        text=changes.pop("text", None),
    )
    given = {
        "campaign_id": "cobranza-2026-02", "name": "Cobranza", "content_hash": "0" * 64, "created_at": NOON,
        "from_email": "cobros@bore.example", "from_name": "Bore", "sending_domain": "bore.example", "relay": "main",
        "tracking": Tracking(opens=False, clicks=False),
        "source": RecipientSource(fingerprint=SourceFingerprint(kind="inline", size=1, changed="")),
        "schedule": ResolvedSchedule(start_at=NOON, timezone="UTC"),
        "strategy": Strategy(
            name="batch", type="batch", steps=(Step(day=1, daily_limit=None, batch_size=500),), intervals_minutes=(0,)
        ),
    }  # fmt: skip
    return Campaign(template=template, **(given | changes))


def letter(row: dict[str, object] | None = None, *, name: MessageName | None = None, **changes: Any) -> Envelope:
    """The message of one row of a campaign with these changes."""
    tracker = changes.pop("tracker", None)
    compiled = compile_message(campaign(**changes), key=KEY, tracker=tracker)
    made = campaign(**changes).campaign_id
    given = {"email": "anna@example.com", "first_name": "Ana"} | (row or {})
    return compiled.fill(given, name or MessageName(made, 7, 3), DAY, NOON)


def read(envelope: Envelope) -> EmailMessage:
    """The message as Python's parser reads it; it must find no defect."""
    message = email.message_from_bytes(envelope.content, policy=default)
    for one in message.walk():
        assert one.defects == []
        for name, value in one.items():
            assert getattr(value, "defects", ()) == (), (name, value)
    return message


def display_name(octets: bytes) -> str:
    """The name in From. Not by `policy.default`, which (until 3.12) puts a space between two encoded words."""
    raw = str(email.message_from_bytes(octets)["From"]).replace("\r\n", "")
    text = str(make_header(decode_header(raw)))
    name = text.rpartition("<")[0].strip()
    return re.sub(r"\\(.)", r"\1", name[1:-1]) if raw.startswith('"') else name


def content(message: EmailMessage, subtype: str) -> str:
    """The text of the part of this subtype, with LF line ends."""
    found = [one for one in message.walk() if one.get_content_type() == f"text/{subtype}"]
    assert len(found) == 1, f"{len(found)} parts of text/{subtype}"
    return str(found[0].get_content()).replace("\r\n", "\n")
