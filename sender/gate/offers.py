"""Whether a campaign may release something now, how much, and until when; or why not.

Order of the questions: orders of people, calendar, campaign, domain, relay's daily quota, interval, whether the relay
takes mail from the domain. What depends on connections and rate is decided afterwards, where permits are given out
(`release.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from schemas.batch import HoldReason
from schemas.calendar import NeverOpens, closes_at, next_sendable, why_closed
from schemas.campaign import ResolvedSchedule
from schemas.strategy import Step
from sender.gate import holds, quota
from sender.gate import limits as account
from sender.gate.decision import Turn
from sender.gate.rows import CampaignRow, DomainRow
from sender.gate.states import SENDING


@dataclass(frozen=True, slots=True)
class Offer:
    """At most `amount` messages may go out until `until`; as a new release, or the rest of the last one; or `again`, to
    those who were deferred before. `probe`: one of them, to find out whether the relay takes mail from the domain."""

    amount: int
    until: datetime
    new: bool
    again: bool = False
    probe: bool = False


def offer(turn: Turn, campaign: CampaignRow) -> Offer | HoldReason | None:
    """What the campaign may release now; why it may not; None when it has nothing that waits. Those who were deferred
    come first, but not to find out whether mail is taken again by a relay that is down, or from a domain."""
    found = _offer(turn, campaign)
    if not isinstance(found, Offer):
        return found
    domain = turn.tables.domain_of(campaign)
    if domain.down is None:
        return found
    if domain.down.probe is not None or domain.down.next_real > turn.real:
        return refused(turn, domain)
    return replace(found, probe=True)


def refused(turn: Turn, domain: DomainRow) -> HoldReason:
    """The hold of a domain from which its relay takes nothing."""
    assert domain.down is not None  # noqa: S101
    wait = timedelta(seconds=max(0.0, domain.down.next_real - turn.real) * turn.tables.speed)
    return holds.domain_refused(domain, turn.real, turn.now, turn.now + wait)


def _offer(turn: Turn, campaign: CampaignRow) -> Offer | HoldReason | None:  # noqa: PLR0911 - a list of reasons
    """The same, whether the domain is refused or not."""
    turn.about = campaign.campaign_id
    plan, strategy = campaign.plan, campaign.strategy
    if plan is None or strategy is None or not (campaign.waiting or campaign.ready):
        return None
    if (failed := turn.tables.aside.get(campaign.campaign_id)) is not None:
        return holds.aside(campaign.campaign_id, failed)
    if campaign.state == "paused":
        return holds.paused(campaign)
    if campaign.state not in SENDING:
        return None
    place = turn.tables.place(plan.sending_domain)
    if place.relay != campaign.relay:
        return holds.unknown_place(campaign.relay, plan.sending_domain)
    domain = turn.tables.domain_of(campaign)
    if quota.roll_domain(domain, turn.now, place.timezone, turn.tables.settings.assume):
        turn.changed(domain)
    if domain.paused:
        return holds.domain_paused(domain)
    until = _until(turn, campaign, domain)
    if isinstance(until, HoldReason):
        return until
    limit, step = quota.domain_limit(strategy, domain.sending_day, warm=place.warm or domain.warm)
    fresh: Offer | HoldReason | None = None
    down = turn.tables.relay(campaign.relay).down or domain.down
    if campaign.ready and campaign.waiting and down is not None:
        fresh = _release(turn, campaign, domain, until, limit, step)
        if isinstance(fresh, Offer):  # whoever was deferred has been asked, or may be the only one who is refused
            return fresh
    again = _again(turn, campaign, domain, until, limit) if campaign.ready else None
    if isinstance(again, Offer) or not campaign.waiting:
        return again
    return fresh or _release(turn, campaign, domain, until, limit, step)


def sending(campaign: CampaignRow, *, again: bool = False) -> int:
    """Permits of the campaign that are open: of its releases, or of those who were deferred before."""
    return len(campaign.again) if again else len(campaign.permits) - len(campaign.again)


def _until(turn: Turn, campaign: CampaignRow, domain: DomainRow) -> datetime | HoldReason:
    """When a permit that is given out now would run out; or why none is."""
    assert campaign.plan is not None  # noqa: S101
    schedule, now = campaign.plan.schedule, turn.now
    known = campaign.window
    if known is None or not (known[0] <= now < known[1]):
        closed = why_closed(schedule, now)
        if closed is not None:
            opens = opens_after(schedule, now)
            if closed == "start_at":
                return holds.start_at(schedule.start_at, opens or schedule.start_at)
            return holds.window(campaign, opens, weekend=closed == "weekend")
        closes = closes_at(schedule, now)
        known = campaign.window = (now, closes or _far(now), closes)
    assert domain.midnight is not None  # noqa: S101 - the domain's day was begun before
    ends = [(domain.midnight - turn.tables.margin, domain.midnight)]
    if known[2] is not None:
        ends.append((known[2] - _window_margin(schedule, turn.tables.margin), known[2]))
    until, closes = min(ends)
    if until <= now:
        return holds.closing(closes, (closes - until).total_seconds(), opens_after(schedule, closes))
    return until


def _window_margin(schedule: ResolvedSchedule, margin: timedelta) -> timedelta:
    """The margin before a window's end: at most a quarter of a short window, which would never open else."""
    if schedule.window is None:
        return margin
    start, end = (timedelta(hours=t.hour, minutes=t.minute, seconds=t.second) for t in schedule.window)
    length = end - start if end > start else end - start + timedelta(days=1)
    return min(margin, length / 4)


def _far(now: datetime) -> datetime:
    return now + timedelta(days=1)


def opens_after(schedule: ResolvedSchedule, at: datetime) -> datetime | None:
    """When the schedule allows sending at `at` or later; None: never."""
    try:
        return next_sendable(schedule, at)
    except NeverOpens:
        return None


def _release(
    turn: Turn, campaign: CampaignRow, domain: DomainRow, until: datetime, limit: int | None, step: Step
) -> Offer | HoldReason:
    assert campaign.strategy is not None  # noqa: S101
    if sending(campaign) >= campaign.strategy.concurrent_batches:
        return holds.concurrent(sending(campaign), campaign.strategy.concurrent_batches)
    left = campaign.release_left if campaign.release_day == domain.day else 0
    amount = _within_limits(turn, campaign, domain, limit, left or step.batch_size)
    if isinstance(amount, HoldReason):
        return amount
    if left:
        return Offer(amount, until, new=False)
    return _in_time(turn, campaign, domain) or Offer(amount, until, new=True)


def _again(
    turn: Turn, campaign: CampaignRow, domain: DomainRow, until: datetime, limit: int | None
) -> Offer | HoldReason:
    """Those who were deferred and are due: without an interval, and beside the batches that are sent at once."""
    assert campaign.strategy is not None  # noqa: S101
    most = campaign.strategy.concurrent_batches
    if (n := sending(campaign, again=True)) >= most:
        return holds.concurrent(n, most)
    amount = _within_limits(turn, campaign, domain, limit, turn.tables.settings.max_permit)
    if isinstance(amount, HoldReason):
        return amount
    if limit is not None:
        left = quota.again_left(domain, limit)
        if left <= 0:
            domain.short.add(campaign.campaign_id)
            return holds.again_limit(domain, limit, _tomorrow(campaign, domain))
        amount = min(amount, left)
    return Offer(amount, until, new=False, again=True)


def _within_limits(
    turn: Turn, campaign: CampaignRow, domain: DomainRow, limit: int | None, amount: int
) -> int | HoldReason:
    """How many of `amount` the limits of domain and relay leave."""
    assert campaign.plan is not None  # noqa: S101
    assert campaign.strategy is not None  # noqa: S101
    if limit is not None:
        used = quota.used(domain)
        if used >= limit:
            domain.short.add(campaign.campaign_id)
            return holds.daily_limit(domain, campaign.strategy.name, used, limit, _tomorrow(campaign, domain))
        amount = min(amount, limit - used)
    relay, limits = turn.tables.relay(campaign.relay), turn.tables.limits(campaign.relay)
    if limits.daily_quota is not None:
        if quota.roll_relay(relay, turn.now):
            turn.changed(relay)
        used = quota.relay_used(relay)
        if used >= limits.daily_quota:
            relay.short.add(campaign.campaign_id)
            return holds.daily_quota(relay, used, limits.daily_quota, quota.next_utc_midnight(turn.now))
        amount = min(amount, limits.daily_quota - used)
    allowed = account.left(relay, turn.real)
    if allowed is not None:
        if allowed <= 0:
            relay.short.add(campaign.campaign_id)
            return account.quota_hold(turn, relay)
        amount = min(amount, allowed)
    return amount


def _in_time(turn: Turn, campaign: CampaignRow, domain: DomainRow) -> HoldReason | None:
    """Whether a new release must still wait."""
    strategy = campaign.strategy
    assert strategy is not None  # noqa: S101
    assert campaign.plan is not None  # noqa: S101
    most = strategy.max_batches_per_day
    if most is not None and campaign.release_day == domain.day and campaign.releases_today >= most:
        return holds.batches_per_day(campaign.releases_today, most, _tomorrow(campaign, domain))
    minutes = strategy.wait_minutes(campaign.releases)
    due = (campaign.released_at or campaign.plan.schedule.start_at) + timedelta(minutes=minutes)
    return holds.interval(minutes, due, campaign.releases) if due > turn.now else None


def _tomorrow(campaign: CampaignRow, domain: DomainRow) -> datetime | None:
    assert campaign.plan is not None  # noqa: S101
    assert domain.midnight is not None  # noqa: S101
    return opens_after(campaign.plan.schedule, domain.midnight)
