"""`rampa plan FILE`: what a request would become, without any broker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import orjson

from planner.errors import SourceError
from planner.plan import PlannedSize, plan, plan_summary
from planner.recipients import Source, open_source
from planner.recipients.clean import Cleaner
from planner.resolve import content_hash, resolve_campaign
from schemas.base import rfc3339
from schemas.campaign import Campaign, SourceFingerprint
from schemas.records import DomainReputation, InvalidRow, Template
from schemas.request import CampaignRequest
from streams.settings import Settings

KEPT = 1000


@dataclass(frozen=True, slots=True)
class DryRun:
    """A plan and its figures. `left_out` are the first rows that would not be mailed."""

    campaign: Campaign
    recipients: int
    invalid: int
    duplicate: int
    batches: tuple[PlannedSize, ...]
    left_out: tuple[InvalidRow, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def sending_days(self) -> int:
        return plan_summary(self.batches).sending_days

    @property
    def starts_at(self) -> datetime | None:
        return plan_summary(self.batches).starts_at

    @property
    def ends_at(self) -> datetime | None:
        """When the last batch goes out."""
        return plan_summary(self.batches).ends_at

    def json(self) -> str:
        """What `rampa plan FILE --json` prints."""
        summary = plan_summary(self.batches)
        return orjson.dumps(
            {
                "recipients": self.recipients,
                "invalid": self.invalid,
                "duplicate": self.duplicate,
                "sending_days": summary.sending_days,
                "starts_at": rfc3339(summary.starts_at) if summary.starts_at else None,
                "ends_at": rfc3339(summary.ends_at) if summary.ends_at else None,
                "batches": [
                    {
                        "number": batch.number,
                        "size": batch.size,
                        "scheduled_for": rfc3339(batch.scheduled_for),
                        "sending_day": batch.sending_day,
                    }
                    for batch in self.batches
                ],
            }
        ).decode()


def no_templates(_: str) -> Template | None:
    """Stored templates lie in Kafka; without it there is none."""
    return None


def dry_run(
    request: CampaignRequest,
    settings: Settings,
    now: datetime,
    *,
    templates: Callable[[str], Template | None] = no_templates,
    reputation: DomainReputation | None = None,
) -> DryRun:
    """The plan that `request` would get at `now`.

    Raises `ProblemsFound` with all that is wrong with the request, and `SourceError` when its
    recipients cannot be read to the end.
    """
    source, fingerprint = _opened(request, settings)
    campaign = resolve_campaign(
        request,
        content_hash=content_hash(request),
        created_at=now,
        settings=settings,
        templates=templates,
        fingerprint=fingerprint,
        now=now,
        reputation=reputation,
    )
    if source is None:
        raise AssertionError("a source that does not open is a problem of the request")
    left_out: list[InvalidRow] = []

    def keep(row: InvalidRow) -> None:
        if len(left_out) < KEPT:
            left_out.append(row)

    cleaner = Cleaner.of(campaign, max_row_bytes=settings.planner.max_row_bytes, on_invalid=keep)
    count = sum(1 for _ in cleaner.clean(source.rows(campaign.source.fingerprint)))
    start_day, zone = campaign.start_day, campaign.day_timezone
    planned = tuple(plan(count, campaign.strategy, campaign.schedule, start_day=start_day, day_timezone=zone))
    return DryRun(
        campaign, cleaner.recipients, cleaner.invalid, cleaner.duplicate, planned, tuple(left_out),
        (*campaign.warnings, *cleaner.warnings()),
    )  # fmt: skip


def fingerprint_of(request: CampaignRequest, settings: Settings) -> SourceFingerprint | SourceError:
    """What the recipients' source says of itself, or why it cannot."""
    return _opened(request, settings)[1]


def _opened(request: CampaignRequest, settings: Settings) -> tuple[Source | None, SourceFingerprint | SourceError]:
    try:
        source = open_source(request.recipients, settings=settings.planner)
        return source, source.fingerprint()
    except SourceError as e:
        return None, e
