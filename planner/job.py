"""Planning one campaign: first everything is resolved, then its batches are written to Kafka.

Both run in a thread of their own, so that a million rows stop neither the agents nor their heartbeats, and both
end in an input for the campaign's owner (`state.py`). Doing them again is harmless: batches depend on the
recorded campaign and the source alone, and each writing has keys of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from planner.batches import batches
from planner.errors import ProblemsFound, SourceChanged, SourceError, SourceUnavailable
from planner.recipients import Source, open_source
from planner.recipients.clean import Cleaner
from planner.resolve import resolve_campaign
from planner.state import CampaignRow, written
from planner.writer import Producers, Writer
from schemas.batch import GateCampaign, PlanComplete
from schemas.campaign import Campaign, SourceFingerprint
from schemas.command import PlannerInput
from schemas.progress import BatchCounts, CampaignProgress, Problem
from schemas.records import DomainReputation, InvalidRow, Template
from schemas.request import CampaignRequest
from schemas.topics import CAMPAIGN_PROGRESS, GATE_INPUTS, INVALID_ROWS, TEMPLATES
from streams.context import Context
from streams.table import read_topic

PROGRESS_EVERY = 1.0
"""Real seconds between two progress records."""


@dataclass(frozen=True, slots=True)
class Work:
    """A campaign to plan, and what is needed for it."""

    ctx: Context
    campaign_id: str
    row: CampaignRow
    reputation: Callable[[str], DomainReputation | None]
    cancelled: Callable[[], bool]
    producers: Producers
    leftovers: list[bytes] = field(default_factory=list)
    """Keys of what was written to `batch.recipients` for a plan that was given up."""

    def report(self, *, campaign: Campaign | None = None, complete: PlanComplete | None = None) -> PlannerInput:
        """What the owner is told: resolved, or planned."""
        return PlannerInput(
            campaign_id=self.campaign_id,
            kind="resolved" if campaign is not None else "planned",
            origin=self.row.origin,
            received_at=self.ctx.clock.now(),
            campaign=campaign,
            complete=complete,
        )

    def refusal(self, problems: tuple[Problem, ...], state: Literal["rejected", "failed"]) -> PlannerInput:
        """What the owner is told when it cannot be."""
        return PlannerInput(
            campaign_id=self.campaign_id,
            kind="refused",
            origin=self.row.origin,
            received_at=self.ctx.clock.now(),
            problems=problems[: self.ctx.settings.planner.max_problems],
            state=state,
        )


def work_on(work: Work) -> PlannerInput:
    """Do what is next for the campaign: resolve it, or plan it when it is resolved.

    Blocks; for a thread. Raises `Cancelled`, `SourceUnavailable` and errors of Kafka: then it is to be done
    again, later.
    """
    request = CampaignRequest.model_validate(written(work.row))
    if work.row.campaign is None:
        return resolve(work, request)
    return plan_campaign(work, request, work.row.campaign)


def resolve(work: Work, request: CampaignRequest) -> PlannerInput:
    """The campaign with nothing open, or all that is wrong with the request."""
    settings = work.ctx.settings
    try:
        campaign = resolve_campaign(
            request,
            content_hash=work.row.content_hash,
            created_at=work.row.created_at,
            settings=settings,
            templates=lambda name: _template(work.ctx, name),
            fingerprint=_fingerprint(work.ctx, request),
            now=work.row.created_at,
            reputation=work.reputation(work.row.domain),
        )
    except ProblemsFound as e:
        return work.refusal(e.problems, "rejected")
    return work.report(campaign=campaign.model_copy(update={"campaign_id": work.campaign_id}))


def plan_campaign(work: Work, request: CampaignRequest, campaign: Campaign) -> PlannerInput:
    """Write the batches of a resolved campaign; what its owner is to be told.

    Whatever that is, all that was written before is acknowledged by then: batches that were cut are announced before
    the plan is taken back, and no part of them arrives after its tombstone. Raises `Cancelled`, `SourceUnavailable`
    and errors of Kafka: then it is to be planned again, later.
    """
    writer = Writer(work.ctx, work.producers, work.cancelled)
    source: Source | None = None
    plan = _Plan(work, campaign, writer)
    try:
        source = open_source(request.recipients, settings=work.ctx.settings.planner)
        plan.write(source)
    except SourceUnavailable:
        raise
    except SourceError as e:
        refusal = work.refusal((Problem(field=_source_field(request), problem=str(e)),), plan.verdict(e, source))
        writer.flush()
        work.leftovers.extend(writer.keys())
        return refusal
    else:
        return work.report(complete=plan.complete())
    finally:
        writer.close()


class _Plan:
    """One pass over a source."""

    def __init__(self, work: Work, campaign: Campaign, writer: Writer) -> None:
        self._work = work
        self._campaign = campaign
        self._writer = writer
        self._warnings = campaign.warnings
        self._batches = 0
        self._told_at = time.monotonic()
        self._cleaner = Cleaner.of(
            campaign, max_row_bytes=work.ctx.settings.planner.max_row_bytes, on_invalid=self._invalid
        )

    def write(self, source: Source) -> None:
        """Recipients, batches, then the plan as a whole. Raises `SourceError`, `Cancelled`, `DeliveryFailed`."""
        rows = source.rows(self._campaign.source.fingerprint)
        for batch in batches(self._campaign, self._cleaner.clean(rows)):
            self._batches += 1
            self._writer.batch(self._campaign, batch)
            if time.monotonic() - self._told_at > PROGRESS_EVERY:
                self._progress()
        self._warnings += self._cleaner.warnings()
        self._progress()
        self._writer.flush()
        self._writer.record(GATE_INPUTS, self._campaign.relay, self.complete())
        self._writer.flush()

    def complete(self) -> PlanComplete:
        """What the gate needs to know of the campaign."""
        campaign = self._campaign.model_copy(update={"warnings": self._warnings})
        return PlanComplete(
            relay=campaign.relay,
            batches=self._batches,
            campaign=GateCampaign(
                **{name: getattr(campaign, name) for name in GateCampaign.model_fields if hasattr(campaign, name)},
                recipients=self._cleaner.recipients,
                invalid=self._cleaner.invalid,
                duplicate=self._cleaner.duplicate,
            ),
        )

    def verdict(self, error: SourceError, source: Source | None) -> Literal["rejected", "failed"]:
        """`rejected` when the same source can never have given a batch; else `failed`."""
        if self._batches or source is None or isinstance(error, SourceChanged):
            return "failed"
        try:
            return "rejected" if source.fingerprint() == self._campaign.source.fingerprint else "failed"
        except SourceError:
            return "failed"

    def _invalid(self, row: InvalidRow) -> None:
        self._writer.record(INVALID_ROWS, row.campaign_id, row)
        if time.monotonic() - self._told_at > PROGRESS_EVERY:
            self._progress()

    def _progress(self) -> None:
        self._told_at = time.monotonic()
        cleaner, campaign = self._cleaner, self._campaign
        record = CampaignProgress(
            campaign_id=campaign.campaign_id,
            name=campaign.name,
            state="planning",
            warnings=self._warnings,
            sending_domain=campaign.sending_domain,
            relay=campaign.relay,
            strategy=campaign.strategy.name,
            recipients=cleaner.recipients,
            invalid=cleaner.invalid,
            duplicate=cleaner.duplicate,
            waiting=cleaner.recipients - cleaner.invalid - cleaner.duplicate,
            batches=BatchCounts(total=self._batches, pending=self._batches),
            updated_at=self._work.ctx.clock.now(),
        )
        self._writer.record(CAMPAIGN_PROGRESS, campaign.campaign_id, record)


def _fingerprint(ctx: Context, request: CampaignRequest) -> SourceFingerprint | SourceError:
    """Raises `SourceUnavailable`: then it is asked again, later."""
    try:
        return open_source(request.recipients, settings=ctx.settings.planner).fingerprint()
    except SourceUnavailable:
        raise
    except SourceError as e:
        return e


def _source_field(request: CampaignRequest) -> str:
    return "recipients.uri" if request.recipients.uri is not None else "recipients.inline"


def _template(ctx: Context, name: str) -> Template | None:
    found: bytes | None = None
    for record in read_topic(ctx.kafka, ctx.topic(TEMPLATES)):
        if record.key == name.encode():
            found = record.value
    return Template.decode(found) if found is not None else None
