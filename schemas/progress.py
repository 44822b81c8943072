"""`CampaignProgress`: where a campaign stands; also `rampa campaign status ID --json`."""

from __future__ import annotations

from pydantic import Field

from schemas.base import Instant, Model
from schemas.batch import HoldReason
from schemas.campaign import CampaignState
from schemas.chunk import SendError


class Problem(Model):
    """One thing that is wrong with a request."""

    field: str = Field(description="dotted path in the request, such as schedule.window")
    problem: str


class BatchCounts(Model):
    total: int = 0
    pending: int = 0
    held: int = 0
    queued: int = 0
    processing: int = 0
    completed: int = 0
    cancelled: int = 0


class CampaignProgress(Model):
    """Figures of one campaign. The conservation sum: recipients = invalid + duplicate + suppressed +
    waiting + in_flight + accepted + failed + in_doubt + cancelled."""

    campaign_id: str
    name: str = ""
    state: CampaignState
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    sending_domain: str = ""
    relay: str = ""
    strategy: str = ""
    recipients: int = 0
    invalid: int = 0
    duplicate: int = 0
    suppressed: int = 0
    waiting: int = 0
    deferred: int = Field(0, description="of those waiting: refused for now, to be tried again later")
    in_flight: int = 0
    accepted: int = 0
    failed: int = 0
    given_up: int = Field(
        0, description="of those who failed: in doubt, then dropped by an order; they may have their mail, no retry"
    )
    in_doubt: int = 0
    awaited: int = Field(
        0, description="of those in doubt: whom the record of a sender may settle that hangs, or cannot be read yet"
    )
    resends: bool = Field(False, description="who is in doubt is sent to once more by itself, before he is held")
    cancelled: int = 0
    batches: BatchCounts = BatchCounts()
    percent: float = Field(0, description="of recipients that are not waiting or in flight")
    per_minute: float = Field(
        0, description="accepted, over the last minutes of the installation's clock; 0 when no sender answers"
    )
    eta: Instant | None = None
    started_at: Instant | None = None
    completed_at: Instant | None = None
    cancel_reason: str | None = Field(None, description="what whoever cancelled it said, if anything")
    archived_at: Instant | None = Field(None, description="its recipients are gone since, or are about to go")
    holds: tuple[HoldReason, ...] = ()
    last_errors: tuple[SendError, ...] = ()
    updated_at: Instant

    def conserved(self) -> int:
        """The right side of the conservation sum."""
        return (
            self.invalid + self.duplicate + self.suppressed + self.waiting + self.in_flight
            + self.accepted + self.failed + self.in_doubt + self.cancelled
        )  # fmt: skip
