"""Giving out a relay's connections and rate: to whom, in what order, in what portions.

Campaigns that have something to release and nothing against it but the relay queue in the order of their age.
Free connections are divided among the batches that can be released now, at least one each. A campaign with a pace
of its own gets only the connections that its rate needs, by the rule that one connection sends a message a second.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from datetime import timedelta

from schemas.batch import HoldReason
from sender.gate import holds
from sender.gate import ranges as rs
from sender.gate import rate as rates
from sender.gate.decision import Turn
from sender.gate.deferrals import first_ready, how_many
from sender.gate.fast import made
from sender.gate.limits import refusal_hold
from sender.gate.offers import Offer, offer, sending
from sender.gate.permits import issue
from sender.gate.rows import CampaignRow, Probes, RelayRow
from sender.gate.show import set_hold, settle

NEARLY = 0.999
TYPICAL_SECONDS = 1.0
"""A message on one connection, with what a slow server takes. A paced campaign holds no more connections than that
needs, so that the others of its relay go on meanwhile."""


@dataclass(slots=True)
class Room:
    """What a relay has to give in this turn."""

    connections: int
    rate: float | None
    rate_free: float
    probe: bool


def dispatch(turn: Turn, relay: RelayRow) -> None:
    """Gives out what can be given out, and says to all others why not."""
    fresh = turn.tables.fresh.pop(relay.name, None) or {}
    if not fresh and not (relay.freed and relay.queue):
        relay.freed = False
        return
    relay.freed = False
    for campaign_id in fresh:
        _enqueue(turn.tables.campaigns[campaign_id], relay)
    room = _room(turn, relay)
    if isinstance(room, HoldReason):
        _hold_all(turn, relay, fresh, room)
        return
    seen: set[str] = set()
    while asking := _who_asks(turn, relay, room, seen):
        seen |= {c.campaign_id for c, _, _ in asking}
        before = room.connections
        _give(turn, relay, room, asking)
        if room.probe or not 0 < room.connections < before:
            break  # else they took less than they asked for, and the next ones may have the rest
    late = {c: None for c in fresh if c not in seen and turn.tables.campaigns[c].queued}
    if late:
        _hold_all(turn, relay, late, _taken(turn, relay))


def _enqueue(campaign: CampaignRow, relay: RelayRow) -> None:
    if not campaign.queued:
        campaign.queued = True
        bisect.insort(relay.queue, campaign.age)


def _leave(campaign: CampaignRow, relay: RelayRow) -> None:
    if campaign.queued:
        campaign.queued = False
        at = bisect.bisect_left(relay.queue, campaign.age)
        del relay.queue[at]


def _room(turn: Turn, relay: RelayRow) -> Room | HoldReason:
    """What the relay has to give; or why it gives nothing now."""
    limits, real = turn.tables.limits(relay.name), turn.real
    used = sum(b.permit.connections for b in relay.permits.values() if b.permit is not None)
    down = relay.down
    if down is not None and (down.probe is not None or down.next_real > real):
        if down.probe is None:
            turn.tables.wake_real(down.next_real, "relay", relay.name)
        wait = timedelta(seconds=max(0.0, down.next_real - real) * turn.tables.speed)
        return holds.relay_down(relay, real, turn.now, turn.now + wait)
    refused = refusal_hold(turn, relay)
    if refused is not None:
        return refused
    free = limits.connections - used
    if free <= 0:
        return _ALL_TAKEN
    rate = rates.current(relay, limits.rate, real)
    rate_free = 0.0 if rate is None else rate - rates.in_use(relay, real)
    if rate is not None and rate_free <= rate * (1 - NEARLY):
        return _rate_taken(turn, relay, rate)
    return Room(free if down is None else 1, rate, rate_free, probe=down is not None)


_ALL_TAKEN = made(HoldReason, reason="connections", detail="", figures={}, until=None)


def _rate_taken(turn: Turn, relay: RelayRow, rate: float) -> HoldReason:
    free_at = rates.next_release(relay, turn.real)
    if free_at is None and not relay.permits:
        free_at = turn.real + 1.0
    if free_at is not None:
        turn.tables.wake_real(free_at, "relay", relay.name)
    return holds.rate(f"relay {relay.name}", rate, turn.tables.limits(relay.name).rate)


def _taken(turn: Turn, relay: RelayRow) -> HoldReason:
    again = _room(turn, relay)
    return again if isinstance(again, HoldReason) else _ALL_TAKEN


def _hold_all(turn: Turn, relay: RelayRow, campaigns: dict[str, None], hold: HoldReason) -> None:
    """Campaigns that queue, and why they must; those that have reasons of their own leave the queue."""
    for campaign_id in campaigns:
        campaign = turn.tables.campaigns[campaign_id]
        own = offer(turn, campaign)
        if isinstance(own, Offer):
            limit = turn.tables.limits(relay.name).connections
            set_hold(turn, campaign, holds.connections(campaign, relay, limit) if hold is _ALL_TAKEN else hold)
        else:
            _wait(turn, relay, campaign, own)


def _wait(turn: Turn, relay: RelayRow, campaign: CampaignRow, hold: HoldReason | None) -> None:
    _leave(campaign, relay)
    set_hold(turn, campaign, hold)
    if hold is not None and hold.until is not None and hold.reason != "domain_refused":  # its domain wakes it
        turn.tables.wake_campaign(campaign, hold.until)


def _who_asks(turn: Turn, relay: RelayRow, room: Room, seen: set[str]) -> list[tuple[CampaignRow, Offer, int]]:
    """Who else can release now, oldest first, and in how many portions; as many as there are connections. For a probe
    the oldest one with somebody who was not deferred: one who was may be the only one whom the relay refuses. A relay
    is asked from a domain that it has not refused, if there is one, and from each in turn."""
    asking: list[tuple[CampaignRow, Offer, int]] = []
    portions, at = 0, 0
    while at < len(relay.queue) and (portions < room.connections or room.probe):
        campaign = turn.tables.campaigns[relay.queue[at][1]]
        if campaign.campaign_id in seen:
            at += 1
            continue
        found = offer(turn, campaign)
        pace = _pace(turn, relay, campaign) if isinstance(found, Offer) else None
        if isinstance(found, Offer) and isinstance(pace, tuple):
            n = 1 if found.probe else _batches(campaign, found) if pace[1] is None else _needed(pace[1])
            asking.append((campaign, found, min(n, pace[0])))
            portions += asking[-1][2]
            at += 1
        else:
            _wait(turn, relay, campaign, pace if isinstance(pace, HoldReason) else _no_offer(found))
    if room.probe:
        tried = relay.down.tried if relay.down is not None else []
        last = {name: n for n, name in enumerate(tried, 1)}
        return sorted(
            asking, key=lambda one: (one[1].probe, last.get(turn.tables.domain_of(one[0]).name, 0), one[1].again)
        )[:1]
    return sorted(asking, key=lambda one: one[1].probe and one[1].again)


def _no_offer(found: Offer | HoldReason | None) -> HoldReason | None:
    return None if isinstance(found, Offer) else found


def _needed(rate: float) -> int:
    """Connections that a campaign's own rate needs. All of its rate goes to one batch after the other."""
    return max(1, math.ceil(rate * TYPICAL_SECONDS - 1e-9))


def _batches(campaign: CampaignRow, found: Offer) -> int:
    """How many batches the offer reaches into, and those that follow it without an interval: while one ends and its
    successor begins, the others go on."""
    assert campaign.strategy is not None  # noqa: S101
    most = campaign.strategy.concurrent_batches - sending(campaign, again=found.again)
    left, n = found.amount, 0
    numbers = campaign.ready if found.again else campaign.waiting
    if not found.again and not any(campaign.strategy.intervals_minutes):
        whole = found.amount >= rs.total(campaign.batches[-numbers[-1]].open)
        if whole:
            return max(0, min(most, len(numbers)))
    for number in reversed(numbers):
        if left <= 0 or n >= most:
            break
        batch = campaign.batches[-number]
        left -= how_many(batch) if found.again else rs.total(batch.open)
        n += 1
    return n


def _give(turn: Turn, relay: RelayRow, room: Room, asking: list[tuple[CampaignRow, Offer, int]]) -> None:
    portions = sum(n for _, _, n in asking)
    for place, (campaign, first, own) in enumerate(asking):
        turn.about = campaign.campaign_id
        rest, at_once = portions - own, own if _paced(campaign) else 1
        found: Offer | HoldReason | None = first if place == 0 else offer(turn, campaign)
        while True:
            if not isinstance(found, Offer):
                _wait(turn, relay, campaign, found)
                break
            if room.connections <= 0:
                _hold_all(turn, relay, {campaign.campaign_id: None}, _taken(turn, relay))
                break
            share = -(-room.connections * at_once // max(1, portions))
            refused = _portion(turn, relay, room, campaign, found, share)
            portions = max(rest, portions - at_once)
            if refused is not None:
                set_hold(turn, campaign, refused)
                break
            found = offer(turn, campaign)
        portions = rest


def _paced(campaign: CampaignRow) -> bool:
    return campaign.plan is not None and campaign.plan.pace.rate is not None


def _portion(
    turn: Turn, relay: RelayRow, room: Room, campaign: CampaignRow, found: Offer, share: int
) -> HoldReason | None:
    """One permit for the campaign's next batch; or why it must wait."""
    settings, limits = turn.tables.settings, turn.tables.limits(relay.name)
    batch = campaign.batches[-(campaign.ready if found.again else campaign.waiting)[-1]]
    again = first_ready(batch) if found.again else None
    n = min(found.amount, rs.total(batch.open if again is None else again.ranges), settings.max_permit)
    pace = _pace(turn, relay, campaign)
    if isinstance(pace, HoldReason):
        _leave(campaign, relay)
        return pace
    probes: Probes | None = "relay" if room.probe else "domain" if found.probe else None
    if probes is not None:
        n = 1
    connections = min(share, room.connections, n, pace[0])
    rate = pace[1]
    if room.rate is not None:
        due = room.rate * connections / limits.connections
        if room.rate_free < due * NEARLY:
            return _rate_taken(turn, relay, room.rate)
        due = min(due, room.rate_free)
        rate = due if rate is None else min(rate, due)
    if rate is not None:
        n = min(n, max(1, int(rate * settings.permit_seconds)))
        connections = min(connections, n, _needed(rate) if _paced(campaign) else n)
    permit = issue(turn, campaign, batch, found, n, connections, rate, probes=probes, again=again)
    room.connections -= connections
    room.rate_free -= rate or 0.0
    if room.probe and relay.down is not None:
        relay.down.probe = permit.id
        room.connections = 0
    domain = turn.tables.domain_of(campaign)
    if found.probe and domain.down is not None:
        domain.down.probe = permit.id
    settle(turn, campaign, batch)
    return None


def _pace(turn: Turn, relay: RelayRow, campaign: CampaignRow) -> tuple[int, float | None] | HoldReason:
    """Connections and rate that the campaign's own pace leaves; or why it must wait for its own permits."""
    assert campaign.plan is not None  # noqa: S101
    pace = campaign.plan.pace
    connections = turn.tables.limits(relay.name).connections
    if pace.connections is not None:
        used = sum(b.permit.connections for b in campaign.permits.values() if b.permit is not None)
        connections = pace.connections - used
        if connections <= 0:
            return holds.pace_connections(used, pace.connections)
    if pace.rate is None:
        return connections, None
    free = pace.rate - rates.in_use(campaign, turn.real)
    if free < pace.rate / 10:
        free_at = rates.next_release(campaign, turn.real)
        if free_at is not None:
            turn.tables.wake_real(free_at, "campaign", campaign.campaign_id)
        return holds.rate("the campaign's pace", pace.rate, pace.rate)
    return connections, free
