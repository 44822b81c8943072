"""Batches: who is in them (`batch.recipients`), what the gate is told, and what it tells of them."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from pydantic import Field

from schemas.base import Instant, Model
from schemas.campaign import ResolvedPace, ResolvedSchedule
from schemas.strategy import Strategy

Range = tuple[int, int]
"""Indices start to end of a batch, the end not included."""

PutOff = tuple[int, int, int]
"""Indices start to end (not included) of a batch that were put off, and how often each of them was."""

MAX_PART_BYTES = 512 * 1024
"""A part of a batch's recipients, encoded; brokers refuse records over 1 MB by default."""

BatchState = Literal["pending", "held", "queued", "processing", "completed", "cancelled"]


def part_checksum(value: bytes) -> str:
    """Of a part as it is written: SHA-256, hex, the first 32 digits."""
    return hashlib.sha256(value).hexdigest()[:32]


class BatchRecipients(Model):
    """A part of a batch's recipients: a table whose first column is `email`."""

    campaign_id: str
    batch_number: int
    part: int = Field(ge=0)
    start: int = Field(ge=0, description="index in the batch of the first row")
    columns: list[str]
    rows: list[list[Any]]


class Pointer(Model):
    """Where a part stands on `batch.recipients`."""

    partition: int
    offset: int
    start: int = Field(description="index in the batch of its first row")
    count: int
    checksum: str = Field("", description="`part_checksum` of its record; empty: planned before there was one")


class BatchPlanned(Model):
    """A batch that was planned and whose recipients are written. Planner to gate."""

    kind: Literal["batch_planned"] = "batch_planned"
    relay: str
    campaign_id: str
    content_hash: str
    batch_number: int = Field(ge=1)
    size: int = Field(ge=1)
    pointers: tuple[Pointer, ...]
    checksum: str = Field(description="SHA-256, hex, of the rows: the same when planned again")
    scheduled_for: Instant = Field(description="when it goes out if the domain advances every sending day")
    sending_day: int = Field(description="of the campaign, in that case")


class GateCampaign(Model):
    """What the gate needs to know of a campaign."""

    campaign_id: str
    name: str
    content_hash: str
    created_at: Instant
    relay: str
    sending_domain: str
    strategy: Strategy
    pace: ResolvedPace
    schedule: ResolvedSchedule
    in_doubt: Literal["hold", "resend"]
    max_retries: int
    recipients: int = Field(description="rows of the source that `where` kept, invalid and duplicate included")
    invalid: int
    duplicate: int
    warnings: tuple[str, ...] = ()


class PlanComplete(Model):
    """All batches of a campaign are on the topic. Planner to gate; repeated until progress shows it."""

    kind: Literal["plan_complete"] = "plan_complete"
    relay: str
    campaign: GateCampaign
    batches: int = Field(ge=0, description="how many there are")


class PlanFailed(Model):
    """A campaign's plan was given up midway: it will never be complete. Planner to gate, once or more often.

    The gate forgets what it was told of the campaign's batches, and ignores what of them is still on its way.
    A campaign whose plan is complete is not touched.
    """

    kind: Literal["plan_failed"] = "plan_failed"
    relay: str
    campaign_id: str
    content_hash: str
    problems: tuple[str, ...] = Field((), description="why, a sentence each")


class HoldReason(Model):
    """Why something waits: for programs a reason and its figures, for people a sentence."""

    reason: Literal[
        "planning", "start_at", "window", "weekend", "interval", "daily_limit", "daily_quota", "batches_per_day",
        "concurrent_batches", "connections", "rate", "paused", "domain_paused", "relay_down", "throttled", "no_sender",
        "in_doubt", "unknown_domain", "older_campaigns", "reputation", "error", "deferred", "domain_refused",
    ]  # fmt: skip
    detail: str
    figures: dict[str, float | int | str | None] = {}
    until: Instant | None = Field(None, description="when it is looked at again; None: when something happens")


class Batch(Model):
    """A batch as anyone may see it."""

    campaign_id: str
    batch_number: int
    size: int
    state: BatchState
    hold: HoldReason | None = None
    scheduled_for: Instant
    sending_day: int
    released_at: Instant | None = Field(None, description="the first release of any of it")
    completed_at: Instant | None = None
    waiting: int = 0
    deferred: int = Field(0, description="of those waiting: refused for now, to be tried again later")
    in_flight: int = 0
    accepted: int = 0
    failed: int = 0
    in_doubt: int = 0
    suppressed: int = 0
    cancelled: int = 0
    round: int = 0
    error: str | None = Field(None, description="the last thing that went wrong with the batch as a whole")
    updated_at: Instant
