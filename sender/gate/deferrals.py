"""Who was refused for now: when they are released again, and when that has gone on for long enough.

The schedule of a batch is a short list of `Later`: ranges of indices that were deferred equally often at about the same
time. When one is due, its recipients are released again by a permit that says after how many deferrals; it is charged
to the day on which it goes out, and counts neither as a release nor against the batches that are sent at once.

`give_up_after` counts allowed time: a clock of the campaign that runs while its schedule is open and nobody has paused
it or its domain, the relay works and takes mail from the domain, and no quota is used up. It counts at most until an
entry is due: from then on it is always something of ours that lets it wait. The last try is made when that time is
over; the owner of the batch then makes a failure of one more refusal.
"""

from __future__ import annotations

import heapq
from datetime import UTC, datetime, timedelta

from schemas.batch import HoldReason
from schemas.calendar import sendable_between
from schemas.chunk import ChunkResult
from sender.gate import holds
from sender.gate import ranges as rs
from sender.gate.decision import Turn
from sender.gate.rows import BatchRow, CampaignRow, Later, Permit
from sender.gate.states import ENDED, SENDING

GRAIN = 20
"""Due times are rounded up to a part of the wait, so that those who were deferred one soon after the other go
together."""
NOT_ALLOWED = frozenset({"daily_limit", "daily_quota", "relay_down", "domain_refused", "unknown_domain"})
"""Holds of a campaign during which its clock stands."""


def put_off(turn: Turn, campaign: CampaignRow, batch: BatchRow, permit: Permit, result: ChunkResult) -> None:
    """Takes in whom the owner has deferred under the permit since its last report."""
    if result.deferral is not None:
        campaign.last_deferral = result.deferral
    if not result.deferred:
        return
    known = rs.union(*(e.ranges for e in batch.deferred))
    for times in sorted({n for _, _, n in result.deferred if n > permit.deferrals}):
        reported = [(start, end) for start, end, n in result.deferred if n == times]
        news = rs.minus(rs.common(reported, permit.ranges), known)
        if news and campaign.state in ENDED:
            batch.cancelled = rs.union(batch.cancelled, news)
        elif news:
            _schedule(turn, campaign, batch, permit, times, news, min(turn.now, result.at))


def _schedule(
    turn: Turn, campaign: CampaignRow, batch: BatchRow, permit: Permit, times: int, news: rs.Ranges, at: datetime
) -> None:
    wait = turn.tables.settings.deferrals.wait(times, permit.used)
    due, mark = _rounded(at + wait, wait / GRAIN), allowed_seconds(campaign, turn.now)
    for e in batch.deferred:
        if (e.times, e.round, e.due, e.used, e.ready) == (times, permit.round, due, permit.used, False):
            e.ranges, e.at, e.mark = rs.union(e.ranges, news), at, mark
            return
    batch.deferred.append(
        Later(ranges=news, times=times, round=permit.round, at=at, due=due, mark=mark, used=permit.used)
    )
    heapq.heappush(turn.tables.due, (due, f"{batch.campaign_id}/{batch.number}"))


_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def _rounded(at: datetime, grain: timedelta) -> datetime:
    """`at`, or the next moment that is a multiple of `grain`."""
    grain = max(grain, timedelta(seconds=1))
    return _EPOCH + -(-(at - _EPOCH) // grain) * grain


def ripen(turn: Turn, campaign: CampaignRow, batch: BatchRow) -> bool:
    """Makes ready what is due; whether there was any. From here on their waiting counts no more."""
    now, found = turn.now, False
    for e in list(batch.deferred):
        if e.ready or e.due > now:
            continue
        waited = min(allowed_seconds(campaign, now) - e.mark, (e.due - e.at).total_seconds())
        batch.deferred.remove(e)
        make_ready(turn, batch, e.ranges, e.times, e.round, e.used + max(0.0, waited))
        found = True
    return found


def make_ready(turn: Turn, batch: BatchRow, ranges: rs.Ranges, times: int, round_: int, used: float) -> None:
    """These may be released again at once. Who was deferred equally often goes together."""
    for e in batch.deferred:
        if e.ready and (e.times, e.round) == (times, round_):
            e.ranges, e.used = rs.union(e.ranges, ranges), min(e.used, used)
            return
    batch.deferred.append(
        Later(ranges=ranges, times=times, round=round_, at=turn.now, due=turn.now, used=used, ready=True)
    )


def hasten(turn: Turn, campaign: CampaignRow, batch: BatchRow) -> bool:
    """Whoever is deferred may be released at once: somebody asked for it. Whether there was anybody."""
    for e in batch.deferred:
        e.due = min(e.due, turn.now)
    return ripen(turn, campaign, batch)


def first_ready(batch: BatchRow) -> Later | None:
    """What the next permit of those who were deferred is made of."""
    return next((e for e in batch.deferred if e.ready), None)


def how_many(batch: BatchRow) -> int:
    """Recipients of a batch who are deferred."""
    return sum(rs.total(e.ranges) for e in batch.deferred)


# --- allowed time


def allowed_seconds(campaign: CampaignRow, now: datetime) -> float:
    """The campaign's clock of allowed time."""
    if campaign.allowed_since is None or campaign.plan is None:
        return campaign.allowed
    return campaign.allowed + sendable_between(campaign.plan.schedule, campaign.allowed_since, now).total_seconds()


def keep_time(turn: Turn, campaign: CampaignRow) -> None:
    """Starts and stops the campaign's clock; without anybody who waits by it, it is set to zero."""
    if not campaign.deferring:
        if campaign.allowed_since is not None or campaign.allowed:
            campaign.allowed, campaign.allowed_since = 0.0, None
            turn.changed(campaign)
        return
    runs = _is_allowed(turn, campaign)
    if runs and campaign.allowed_since is None:
        campaign.allowed_since = turn.now
        turn.changed(campaign)
    elif not runs and campaign.allowed_since is not None:
        campaign.allowed, campaign.allowed_since = allowed_seconds(campaign, turn.now), None
        turn.changed(campaign)


def _is_allowed(turn: Turn, campaign: CampaignRow) -> bool:
    tables, hold, domain = turn.tables, campaign.hold, turn.tables.domain_of(campaign)
    return (
        campaign.state in SENDING
        and not domain.paused
        and domain.down is None
        and tables.relay(campaign.relay).down is None
        and campaign.campaign_id not in tables.aside
        and (hold is None or hold.reason not in NOT_ALLOWED)
    )


# --- what people see


def hold_of(turn: Turn, campaign: CampaignRow, batches: list[BatchRow]) -> HoldReason:
    """Why these batches of a campaign wait, as far as they wait for those who were deferred."""
    entries = [e for b in batches for e in b.deferred]
    n = sum(rs.total(e.ranges) for e in entries)
    due = max(turn.now, min(turn.now if e.ready else e.due for e in entries))
    return holds.deferred(n, len(batches), max(e.times for e in entries), due, campaign.last_deferral)


def last_due(campaign: CampaignRow) -> datetime | None:
    """When the last of those who are deferred now is due."""
    entries = [e for number in campaign.deferring for e in campaign.batches[number].deferred]
    return max((e.due for e in entries), default=None)
