"""What an event proves about a message that is in doubt: that the provider took it. Pure."""

from __future__ import annotations

from schemas.chunk import Evidence
from schemas.event import EventType, MailEvent

PROOFS: frozenset[EventType] = frozenset(
    {"delivered", "bounced", "complained", "opened", "clicked", "unsubscribed"}
)  # fmt: skip
"""Only a provider that took a message delivers it, returns it (RFC 3464), or hears of it from a reader. `failed`
is a refusal while it was being handed over, and says nothing of another try."""


def evidence_of(event: MailEvent) -> Evidence | None:
    """The record for `gate.inputs`, under the key `event.relay`, of an event that carries a message's name.

    None: the event proves nothing. Write it when the message is in doubt by `mail.events`, or when no outcome of
    it has been seen there; more often does no harm, but costs the gate an input each.
    """
    if event.event_type not in PROOFS:
        return None
    return Evidence(
        relay=event.relay,
        campaign_id=event.campaign_id,
        batch_number=event.batch_number,
        recipient_index=event.recipient_index,
        event_id=event.event_id,
        at=event.event_time,
    )
