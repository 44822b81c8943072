"""`Campaign`: a request with everything resolved. Written once by the planner, never changed."""

from __future__ import annotations

from datetime import time
from typing import Literal

from pydantic import Field

from schemas.base import Instant, Model
from schemas.link import Link
from schemas.request import FallbackSpec, Tracking
from schemas.strategy import Strategy

CampaignState = Literal["planning", "scheduled", "running", "paused", "completed", "cancelled", "rejected", "failed"]


class ResolvedTemplate(Model):
    """What is sent: Jinja2 sources of the subject and of at least one body."""

    id: str | None = Field(None, description="of the stored template it was copied from")
    subject: str
    html: str | None = None
    text: str | None = None


class ResolvedPace(Model):
    rate: float | None = Field(None, description="messages a second of real time")
    connections: int | None = None


class ResolvedSchedule(Model):
    """When mail may go out, with nothing left open."""

    start_at: Instant = Field(description="nothing is released before")
    timezone: str = Field(description="IANA name; of window and weekends")
    window: tuple[time, time] | None = Field(None, description="local times; None: any time")
    skip_weekends: bool = False


class SourceFingerprint(Model):
    """What tells that a recipient source is still the one that was planned."""

    kind: Literal["inline", "file", "s3"]
    size: int = Field(description="bytes; rows for inline")
    changed: str = Field(description="modification time in ns, or an entity tag; empty for inline")


class RecipientSource(Model):
    uri: str | None = Field(None, description="None: the rows came inline, in the request")
    where: dict[str, list[str | int | float | bool | None]] = {}
    fingerprint: SourceFingerprint


class Campaign(Model):
    """Everything about a campaign that is decided when it is planned."""

    campaign_id: str
    name: str
    content_hash: str = Field(description="SHA-256, hex, of the canonical request")
    created_at: Instant
    from_email: str
    from_name: str | None = None
    reply_to: str | None = None
    sending_domain: str = Field(description="lower-cased A-label domain of from_email")
    relay: str
    template: ResolvedTemplate
    source: RecipientSource
    strategy: Strategy
    start_day: int = Field(1, ge=1, description="the domain's sending day that the plan begins with")
    day_timezone: str | None = Field(
        None, description="IANA name; where the domain's day begins; None: the schedule's time zone"
    )
    pace: ResolvedPace = ResolvedPace()
    schedule: ResolvedSchedule
    tracking: Tracking = Tracking()
    links: tuple[Link, ...] = Field((), description="of the HTML, that are tracked; number 1 is the first")
    in_doubt: Literal["hold", "resend"] = "hold"
    max_retries: int = 3
    fallback: FallbackSpec | None = None
    tags: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
