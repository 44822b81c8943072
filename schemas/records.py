"""Smaller records: templates, suppressions, invalid rows, alerts, reputation, installation."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from schemas.base import Instant, Model
from schemas.campaign import ResolvedTemplate
from schemas.identity import CampaignId


class Template(Model):
    """A stored template, under its id. The newest record holds; a tombstone removes it."""

    id: CampaignId
    subject: str
    html: str | None = None
    text: str | None = None
    updated_at: Instant

    def resolved(self) -> ResolvedTemplate:
        return ResolvedTemplate(id=self.id, subject=self.subject, html=self.html, text=self.text)


class InvalidRow(Model):
    """A row of a recipient source that is not mailed, and why."""

    campaign_id: str
    row: int = Field(description="from 1, the header not counted")
    address: str
    kind: Literal["invalid", "duplicate"] = "invalid"
    reason: str


class Fallback(Model):
    """A recipient who did not react in time, for another channel."""

    campaign_id: str
    recipient: str
    variables: dict[str, str | int | float | bool | None] = {}
    mailed_at: Instant


class Suppression(Model):
    """An address that is not mailed any more. Key: the address in lower case."""

    address: str
    reason: Literal["hard_bounce", "complaint", "unsubscribed", "manual"]
    source: str = ""
    at: Instant


class Alert(Model):
    """Something an operator should look at, once for each time that it happens.

    What concerns a relay is written for each sending domain of it. When it is over, the same `id` comes once more
    with `resolved`.
    """

    id: str = Field("", description="of the cause and the time that it began: the same alert has the same id")
    sending_domain: str
    kind: str = Field(
        description="relay_down, domain_refused, no_sender, daily_quota, chunk_failed, batch_failed, in_doubt, ..."
    )
    severity: Literal["info", "warning", "critical"]
    detail: str
    figures: dict[str, float | int | str | None] = {}
    resolved: bool = Field(False, description="what the id named is over")
    relay: str | None = None
    campaign_id: str | None = None
    batch_number: int | None = None
    at: Instant


class ReputationCounts(Model):
    """Totals so far of one (domain, day, source partition)."""

    sending_domain: str
    day: date
    source_partition: int
    offset: int = Field(description="of the last event counted")
    counts: dict[str, int]
    at: Instant


class DomainReputation(Model):
    """Where a sending domain stands in its warm-up."""

    sending_domain: str
    sending_day: int = Field(ge=1)
    warm: bool = False
    state: Literal["warming", "warm", "problems"] = "warming"
    as_of: Instant


class ReputationChanged(Model):
    """The gate is told a domain's standing. Older ones (by `as_of`) are ignored."""

    kind: Literal["reputation"] = "reputation"
    relay: str
    sending_domain: str
    sending_day: int = Field(ge=1)
    warm: bool = False
    as_of: Instant


class RelayAccount(Model):
    """What a relay's account says of itself; a sender that serves the relay tells the gate, now and then.

    Times are real, not the installation's: an account counts by those. Older readings (by `read_real`) are ignored.
    """

    kind: Literal["relay_account"] = "relay_account"
    relay: str
    read_real: float = Field(description="Unix seconds of real time at which it was read")
    again_seconds: float = Field(gt=0, description="real seconds until it is read again")
    rate: float | None = Field(None, ge=0, description="messages a second; None: not said")
    quota: int | None = Field(None, ge=0, description="messages in any 24 hours; None: no limit, or not said")
    sent: int = Field(0, ge=0, description="messages in the 24 hours before, by whatever program")
    refusal: str | None = Field(None, description="why it cannot send at all; None: it can")


class ClockRecord(Model):
    """Virtual time = epoch_virtual + (real time - epoch_real) * speed; Unix seconds."""

    epoch_real: float
    epoch_virtual: float
    speed: float = 1.0


class InstallationRecord(Model):
    """What all processes must share. Key: `installation`."""

    id: str
    partitions: int
    clock: ClockRecord
    product_version: str
    created_at: Instant
