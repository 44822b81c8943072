"""Permits: how large, as what chunk, and how they are asked for again."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.batch import Pointer
from schemas.chunk import BatchControl, Chunk
from sender.gate import quota
from sender.gate import ranges as rs
from sender.gate.decision import Turn
from sender.gate.fast import made
from sender.gate.offers import Offer
from sender.gate.rows import BatchRow, CampaignRow, Later, Permit, Probes
from sender.gate.silence import is_silent
from sender.gate.states import moved


def issue(
    turn: Turn, campaign: CampaignRow, batch: BatchRow, offer: Offer, n: int, connections: int, rate: float | None,
    *, probes: Probes | None = None, again: Later | None = None,
) -> Permit:  # fmt: skip
    """Gives out the first `n` open indices of the batch, or of those who were deferred, and charges them."""
    tables = turn.tables
    relay, domain = tables.relay(campaign.relay), tables.domain_of(campaign)
    quota.roll_relay(relay, turn.now)
    assert domain.day is not None and relay.day is not None  # noqa: S101, PT018
    relay.permits_issued += 1
    source = _take(batch, n) if again is None else _take_again(batch, again, n)
    permit = Permit(
        id=f"{relay.name}:{relay.permits_issued:012d}", round=source.round, ranges=source.ranges,
        connections=connections, rate=rate, until=offer.until, issued_at=turn.now, issued_real=turn.real,
        day=domain.day, utc_day=relay.day, asked_real=turn.real, probe=probes is not None,
        probes=probes or "relay", deferrals=source.times,
        defer=tables.settings.deferrals.goes_on(source.used), used=source.used,
    )  # fmt: skip
    permit.n = rs.total(permit.ranges)
    if batch.resend:
        permit.resend, batch.resend = rs.common(batch.resend, permit.ranges), rs.minus(batch.resend, permit.ranges)
    batch.permit = permit
    batch.released_at = batch.released_at or turn.now
    if again is None:
        _count_release(turn, campaign, offer, permit)
    else:
        domain.again += permit.n
    domain.reserved += permit.n
    relay.reserved += permit.n
    tables.hold_permit(campaign, batch)
    if batch.told_to_pause:
        batch.told_to_pause = False
        control(turn, campaign, batch, "resume")
    turn.out.orders.append(chunk_of(turn, campaign, batch, permit))
    turn.changed(batch)
    turn.changed(campaign)
    turn.changed(relay)
    turn.changed(domain)
    return permit


@dataclass(frozen=True, slots=True)
class _Source:
    """Indices for a permit; after so many deferrals, in so much allowed time."""

    ranges: rs.Ranges
    round: int
    times: int = 0
    used: float = 0.0


def _take(batch: BatchRow, n: int) -> _Source:
    taken, batch.open = rs.take(batch.open, n)
    return _Source(taken, batch.round)


def _take_again(batch: BatchRow, again: Later, n: int) -> _Source:
    taken, again.ranges = rs.take(again.ranges, n)
    if not again.ranges:
        batch.deferred.remove(again)
    return _Source(taken, again.round, again.times, again.used)


def _count_release(turn: Turn, campaign: CampaignRow, offer: Offer, permit: Permit) -> None:
    if offer.new:
        campaign.releases += 1
        campaign.releases_today = campaign.releases_today + 1 if campaign.release_day == permit.day else 1
        campaign.release_day, campaign.released_at = permit.day, turn.now
        campaign.release_left = offer.amount
    campaign.release_left -= permit.n
    if campaign.state == "scheduled":
        campaign.state = moved(campaign.state, "running")
        campaign.started_at = campaign.started_at or turn.now


def chunk_of(turn: Turn, campaign: CampaignRow, batch: BatchRow, permit: Permit) -> Chunk:
    """The chunk of a permit: the same content whenever it is asked for."""
    plan = campaign.plan
    assert plan is not None  # noqa: S101
    return made(
        Chunk,
        kind="chunk",
        permit_id=permit.id,
        relay=campaign.relay,
        campaign_id=campaign.campaign_id,
        batch_number=batch.number,
        batch_size=batch.size,
        round=permit.round,
        ranges=tuple(permit.ranges),
        pointers=tuple(
            made(Pointer, partition=p, offset=o, start=s, count=c, checksum=of) for p, o, s, c, of in batch.pointers
        ),
        content_hash=campaign.content_hash,
        checksum=batch.checksum,
        sending_domain=plan.sending_domain,
        day_timezone=turn.tables.place(plan.sending_domain).timezone,
        connections=permit.connections,
        rate=permit.rate,
        until=permit.until,
        in_doubt=plan.in_doubt,
        max_retries=plan.max_retries,
        defer=permit.defer,
        deferrals=permit.deferrals,
        resend=tuple(permit.resend),
        probe=permit.probe,
        probes=permit.probes,
        issued_at=permit.issued_at,
    )


def control(turn: Turn, campaign: CampaignRow, batch: BatchRow, action: str, **what: object) -> int:
    """An order to the owner of the batch; its version."""
    relay = turn.tables.relay(campaign.relay)
    relay.controls_issued += 1
    turn.changed(relay)
    turn.out.orders.append(
        BatchControl.model_validate({
            "relay": campaign.relay, "campaign_id": campaign.campaign_id, "batch_number": batch.number,
            "action": action, "version": relay.controls_issued, "at": turn.now, **what,
        })
    )  # fmt: skip
    return relay.controls_issued


def tell_to_pause(turn: Turn, campaign: CampaignRow) -> None:
    """Whoever sends something of the campaign ends it early."""
    for batch in _by_number(campaign):
        if not batch.told_to_pause:
            batch.told_to_pause = True
            turn.changed(batch)
            control(turn, campaign, batch, "pause")


def tell_to_resume(turn: Turn, campaign: CampaignRow) -> None:
    """Takes an order to pause back where a permit is open; elsewhere that goes with the next permit."""
    for batch in _by_number(campaign):
        if batch.told_to_pause:
            batch.told_to_pause = False
            turn.changed(batch)
            control(turn, campaign, batch, "resume")


def _by_number(campaign: CampaignRow) -> list[BatchRow]:
    return sorted(campaign.permits.values(), key=lambda b: b.number)


def ask_again(turn: Turn, permit_id: str) -> None:
    """Repeats an open permit that nobody has answered or reported on for a while. Once that has gone on for so long
    that nobody seems to send, the campaign says so, and for how long, each time."""
    tables, name = turn.tables, permit_id.rpartition(":")[0]
    batch = tables.relay(name).permits.get(permit_id)
    if batch is None or batch.permit is None:
        return
    permit = batch.permit
    due = max(permit.asked_real, permit.heard_real or 0.0) + tables.settings.repeat_after
    if due > turn.real:
        tables.wake_real(due, "permit", permit_id)
        return
    permit.asked_real = turn.real
    tables.wake_real(turn.real + tables.settings.repeat_after, "permit", permit_id)
    campaign = tables.campaigns[batch.campaign_id]
    turn.out.orders.append(chunk_of(turn, campaign, batch, permit))
    turn.changed(batch)
    if is_silent(tables, permit, turn.real):
        turn.campaigns[campaign.campaign_id] = campaign
        turn.missed.add(permit.relay)
