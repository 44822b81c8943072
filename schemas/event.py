"""`MailEvent`: a fact about one message or recipient. The columns of `mail_events` are the same."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Instant, Model

EventType = Literal[
    "accepted", "deferred", "delivered", "bounced", "complained", "opened", "clicked", "unsubscribed", "suppressed",
    "failed", "in_doubt", "cancelled",
]  # fmt: skip


class MailEvent(Model):
    """What happened to one message. Written under the batch id."""

    event_id: str = Field(description="deterministic: the same fact has the same id")
    event_type: EventType
    event_time: Instant
    campaign_id: str
    batch_number: int
    recipient_index: int = Field(description="in the batch, from 0")
    recipient: str
    sending_domain: str
    recipient_domain: str
    provider: str = Field("", description="who runs the recipient's mailbox, where known")
    relay: str
    message_id: str = ""
    provider_message_id: str = Field("", description="the relay's own name for it, from its reply")
    attempt: int = 0
    smtp_code: int = 0
    enhanced_code: str = Field("", description="RFC 3463")
    reason: str = Field("", description="the class, such as bad_mailbox")
    diagnostic: str = Field("", description="the server's text")
    link: str = ""
    user_agent: str = ""
    ip: str = ""
    is_machine: bool = False
    tags: dict[str, str] = {}
