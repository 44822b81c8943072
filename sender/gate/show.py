"""What anyone may see: `Batch` and `CampaignProgress` records, at changes of state at once, else now and then."""

from __future__ import annotations

from datetime import datetime, timedelta

from schemas.batch import Batch, GateCampaign, HoldReason
from schemas.progress import BatchCounts, CampaignProgress, Problem
from sender.gate import eta, holds, quota
from sender.gate.decision import Turn
from sender.gate.deferrals import hold_of, how_many, last_due
from sender.gate.fast import made
from sender.gate.offers import refused
from sender.gate.rows import BatchRow, CampaignRow
from sender.gate.silence import is_silent, unheard
from sender.gate.states import ENDED
from sender.gate.tables import restate

MINUTES = 5
"""Of the installation's clock: over which `per_minute` is taken."""
MAX_ERRORS = 10


def settle(turn: Turn, campaign: CampaignRow, batch: BatchRow) -> None:
    """Something of the batch has changed: sums, states, and what is to be shown follow."""
    turn.tables.settle(campaign, batch)
    turn.batches[batch.key] = batch
    turn.campaigns[campaign.campaign_id] = campaign


def set_hold(turn: Turn, campaign: CampaignRow, hold: HoldReason | None) -> None:
    """Why the campaign waits; its next batch is held for that reason, the others are pending."""
    queue = campaign.waiting or campaign.ready
    head = -queue[-1] if hold is not None and queue else None
    if hold == campaign.hold and head == campaign.held:
        return
    turned = {campaign.held, head}
    campaign.hold, campaign.held = hold, head
    for number in turned:
        batch = campaign.batches.get(number) if number is not None else None
        if batch is not None:
            restate(campaign, batch)
            turn.batches[batch.key] = batch
    turn.campaigns[campaign.campaign_id] = campaign


def show_all(turn: Turn) -> None:
    """At the end of a turn: records of what has changed, or a reminder to write them soon."""
    every = turn.tables.settings.show_every
    for batch in turn.batches.values():
        turn.about = batch.campaign_id
        if batch.state != batch.shown_state or turn.real - batch.shown_real >= every:
            show_batch(turn, turn.tables.campaigns[batch.campaign_id], batch)
        elif not batch.show_due:
            batch.show_due = True
            turn.tables.wake_real(batch.shown_real + every, "batch", f"{batch.campaign_id}/{batch.number}")
    for campaign in turn.campaigns.values():
        if campaign.state == "planning":
            continue
        turn.about = campaign.campaign_id
        if campaign.state != campaign.shown_state or turn.real - campaign.shown_real >= every:
            show_campaign(turn, campaign)
        elif not campaign.show_due:
            campaign.show_due = True
            turn.tables.wake_real(campaign.shown_real + every, "show", campaign.campaign_id)


def show_batch(turn: Turn, campaign: CampaignRow, batch: BatchRow) -> None:
    """The batch's record, now."""
    batch.shown_state, batch.shown_real, batch.show_due = batch.state, turn.real, False
    waiting, in_flight, accepted, failed, in_doubt, suppressed, cancelled = batch.figures
    turn.out.batches.append(
        made(
            Batch,
            campaign_id=batch.campaign_id,
            batch_number=batch.number,
            size=batch.size,
            state=batch.state,
            hold=_hold_of(turn, campaign, batch) if batch.state == "held" else None,
            scheduled_for=batch.scheduled_for,
            sending_day=batch.sending_day,
            released_at=batch.released_at,
            completed_at=batch.completed_at,
            waiting=waiting,
            deferred=how_many(batch),
            in_flight=in_flight,
            accepted=accepted,
            failed=failed,
            in_doubt=in_doubt,
            suppressed=suppressed,
            cancelled=cancelled,
            round=batch.round,
            error=batch.error,
            updated_at=turn.now,
        )
    )


def _hold_of(turn: Turn, campaign: CampaignRow, batch: BatchRow) -> HoldReason | None:
    if campaign.held == batch.number or not batch.deferred:
        return campaign.hold
    return hold_of(turn, campaign, [batch])


def show_campaign(turn: Turn, campaign: CampaignRow) -> None:
    """The campaign's progress, now."""
    campaign.shown_state, campaign.shown_real, campaign.show_due = campaign.state, turn.real, False
    turn.out.progress.append(progress_of(turn, campaign))


def progress_of(turn: Turn, campaign: CampaignRow) -> CampaignProgress:
    """Figures of the campaign as they stand."""
    plan = campaign.plan
    waiting, in_flight, accepted, failed, in_doubt, suppressed, cancelled = campaign.totals
    recipients = plan.recipients if plan else sum(campaign.totals)
    if campaign.state == "failed" and plan:  # its plan and its batches disagree
        recipients = plan.invalid + plan.duplicate + sum(campaign.totals)
    if campaign.state == "planning" and plan:  # not all of its batches are known yet
        waiting = recipients - plan.invalid - plan.duplicate
    done = recipients - waiting - in_flight
    return made(
        CampaignProgress,
        campaign_id=campaign.campaign_id,
        name=plan.name if plan else "",
        state=campaign.state,
        problems=(Problem(field="plan", problem=campaign.problem),) if campaign.problem else (),
        warnings=plan.warnings if plan else (),
        sending_domain=plan.sending_domain if plan else "",
        relay=campaign.relay,
        strategy=campaign.strategy.name if campaign.strategy else "",
        recipients=recipients,
        invalid=plan.invalid if plan else 0,
        duplicate=plan.duplicate if plan else 0,
        suppressed=suppressed,
        waiting=waiting,
        deferred=sum(how_many(campaign.batches[n]) for n in campaign.deferring),
        in_flight=in_flight,
        accepted=accepted,
        failed=failed,
        given_up=campaign.left_out,
        in_doubt=in_doubt,
        awaited=min(in_doubt, sum(b.awaited for n in campaign.awaiting if (b := campaign.batches.get(n)) is not None)),
        resends=plan is not None and plan.in_doubt == "resend",
        cancelled=cancelled,
        batches=_counts(campaign),
        percent=round(100 * done / recipients, 2) if recipients else 100.0,
        per_minute=_per_minute(turn, campaign),
        eta=_eta(turn, campaign),
        started_at=campaign.started_at,
        completed_at=campaign.completed_at,
        cancel_reason=campaign.cancel_reason,
        archived_at=campaign.archived_at,
        holds=tuple(_holds(turn, campaign)),
        last_errors=tuple(campaign.last_errors),
        updated_at=turn.now,
    )


def _counts(campaign: CampaignRow) -> BatchCounts:
    states = campaign.states
    return made(
        BatchCounts,
        total=sum(states.values()),
        pending=states.get("pending", 0),
        held=states.get("held", 0),
        queued=states.get("queued", 0),
        processing=states.get("processing", 0),
        completed=states.get("completed", 0),
        cancelled=states.get("cancelled", 0),
    )


def _holds(turn: Turn, campaign: CampaignRow) -> list[HoldReason]:
    found: list[HoldReason] = []
    if campaign.state in ENDED:
        doubtful = campaign.totals[4] if campaign.state == "completed" else 0
        return [holds.in_doubt(campaign.campaign_id, doubtful)] if doubtful else _unanswered(turn, campaign)
    if (failed := turn.tables.aside.get(campaign.campaign_id)) is not None:
        return [holds.aside(campaign.campaign_id, failed)]
    if campaign.state == "paused":
        found.append(holds.paused(campaign))
    elif campaign.hold is not None:
        found.append(campaign.hold)
    if campaign.deferring:
        found.append(hold_of(turn, campaign, [campaign.batches[n] for n in sorted(campaign.deferring)]))
    relay = turn.tables.relay(campaign.relay)
    if relay.down is not None and not any(h.reason in {"relay_down", "daily_quota"} for h in found):
        wait = max(0.0, relay.down.next_real - turn.real) * turn.tables.speed
        found.append(holds.relay_down(relay, turn.real, turn.now, turn.now + timedelta(seconds=wait)))
    domain = turn.tables.domains.get(campaign.plan.sending_domain) if campaign.plan is not None else None
    if domain is not None and domain.down is not None and all(h.reason != "domain_refused" for h in found):
        found.append(refused(turn, domain))
    rests = [b for n in sorted(campaign.resting) if (b := campaign.batches[n]).retry_real is not None]
    if rests:
        first = min(rests, key=lambda b: b.retry_real or 0.0)
        wait = max(0.0, (first.retry_real or 0.0) - turn.real) * turn.tables.speed
        found.append(holds.resting(first, turn.real, turn.now + timedelta(seconds=wait)))
    stronger = bool(found) and found[0].reason in {"paused", "domain_paused", "relay_down", "domain_refused"}
    unanswered = _unanswered(turn, campaign)
    return [*found, *unanswered] if stronger else [*unanswered, *found]


def _silent(turn: Turn, campaign: CampaignRow) -> list[BatchRow]:
    """Batches that are permitted and of which nobody says anything."""
    permits = campaign.permits.values()
    return [b for b in permits if b.permit is not None and is_silent(turn.tables, b.permit, turn.real)]


def _unanswered(turn: Turn, campaign: CampaignRow) -> list[HoldReason]:
    silent = _silent(turn, campaign)
    if not silent:
        return []
    seconds = max(unheard(turn.tables, b.permit, turn.real) for b in silent if b.permit is not None)
    return [holds.no_sender(len(silent), sum(b.figures[1] for b in silent), seconds)]


def count_accepted(turn: Turn, campaign: CampaignRow, more: int) -> None:
    """So many more were accepted, in this minute."""
    minute = int(turn.now.timestamp() // 60)
    minutes = campaign.minutes
    if minutes and minutes[-1][0] == minute:
        minutes[-1] = (minute, minutes[-1][1] + more)
    else:
        campaign.minutes = [*(m for m in minutes if m[0] > minute - MINUTES), (minute, more)]


def _per_minute(turn: Turn, campaign: CampaignRow) -> float:
    if campaign.started_at is None or campaign.state in ENDED:
        return 0.0
    if campaign.permits and len(_silent(turn, campaign)) == len(campaign.permits):
        return 0.0
    now = turn.now.timestamp() / 60
    n = sum(count for minute, count in campaign.minutes if minute > now - MINUTES - 1)
    return round(n / min(MINUTES, max(1.0, now - campaign.started_at.timestamp() / 60)), 2)


def _eta(turn: Turn, campaign: CampaignRow) -> datetime | None:
    """The latest of: who waits, who is on the way, who is deferred, and what holds the campaign now. None while nobody
    knows how long that takes: a relay is down or refuses the domain, a sender says nothing."""
    plan = campaign.plan
    waiting, in_flight = campaign.totals[0], campaign.totals[1]
    if plan is None or campaign.state not in {"scheduled", "running"} or not waiting + in_flight:
        return None
    if campaign.campaign_id in turn.tables.aside or _endless(turn, campaign):
        return None
    fresh = waiting - sum(how_many(campaign.batches[n]) for n in campaign.deferring)
    ends = [turn.now + timedelta(seconds=in_flight / rate if (rate := _rate(turn, campaign, plan)) else 0)]
    if campaign.deferring and (deferred := eta.opens(plan.schedule, last_due(campaign))) is not None:
        ends.append(deferred)
    if fresh > 0:
        estimate = _eta_of_fresh(turn, campaign, plan, fresh)
        if estimate is None:
            return None
        ends.append(estimate)
        if campaign.hold is not None and campaign.hold.until is not None:
            ends.append(campaign.hold.until)
    return max(ends)


def _endless(turn: Turn, campaign: CampaignRow) -> bool:
    if campaign.hold is not None and campaign.hold.reason in {"relay_down", "domain_paused", "unknown_domain"}:
        return True
    down = turn.tables.relay(campaign.relay).down or turn.tables.domain_of(campaign).down
    return down is not None or bool(_silent(turn, campaign))


def _rate(turn: Turn, campaign: CampaignRow, plan: GateCampaign) -> float | None:
    """Messages a second of the installation's clock; None: as fast as it goes."""
    rates = (turn.tables.limits(campaign.relay).rate, plan.pace.rate)
    rate = min((r for r in rates if r is not None), default=None)
    return None if rate is None else rate / turn.tables.speed


def _eta_of_fresh(turn: Turn, campaign: CampaignRow, plan: GateCampaign, fresh: int) -> datetime | None:
    """When the last goes out of those who have not been released yet."""
    tables, strategy = turn.tables, campaign.strategy
    if strategy is None:
        return None
    domain = tables.domain_of(campaign)
    warm = tables.place(plan.sending_domain).warm or domain.warm
    limit, _ = quota.domain_limit(strategy, domain.sending_day, warm=warm)
    wait = timedelta(minutes=strategy.wait_minutes(campaign.releases))
    due = max(plan.schedule.start_at, (campaign.released_at or plan.schedule.start_at) + wait)
    standing = eta.Standing(
        remaining=fresh,
        sending_day=domain.sending_day,
        warm=warm,
        advancing=tables.settings.assume == "healthy" and domain.as_of is None,
        left_today=None if limit is None else max(0, limit - quota.used(domain)),
        next_release=due if campaign.release_left == 0 else turn.now,
        rate=_rate(turn, campaign, plan),
    )
    return eta.estimate(turn.now, strategy, plan.schedule, standing)
