"""What a batch's owner reports: totals of the batch, and what became of its permit."""

from __future__ import annotations

from schemas.chunk import ChunkResult, SendError
from sender.gate import quota
from sender.gate import ranges as rs
from sender.gate import rate as rates
from sender.gate.decision import Dead, Turn
from sender.gate.deferrals import make_ready, put_off
from sender.gate.doubts import answered, take_open, take_settled
from sender.gate.downs import judge
from sender.gate.permits import chunk_of
from sender.gate.rows import BatchRow, CampaignRow, Permit, RelayRow
from sender.gate.show import MAX_ERRORS, count_accepted, settle
from sender.gate.states import ENDED

UNREADY_SECONDS = 5.0
"""Real seconds until a sender is asked again for what it did not have yet."""


ASIDE_SECONDS = 60.0
"""Real seconds until the owner of a batch that he has put aside is asked again."""


def apply_result(turn: Turn, result: ChunkResult) -> None:
    """Takes a report that is newer than the last one of its batch; any other changes nothing."""
    campaign = turn.tables.campaigns.get(result.campaign_id)
    batch = campaign.batches.get(result.batch_number) if campaign else None
    if campaign is not None and campaign.archived_at is not None:
        return
    if campaign is None or batch is None:
        turn.dead(f"a result for batch {result.campaign_id}/{result.batch_number}, which this gate has never planned")
        return
    permit = batch.permit
    if result.aside and (permit is None or permit.id != result.permit_id):
        if result.order:
            answered(turn, campaign, batch, result, [])
            turn.changed(campaign)
        return
    doubtful = batch.in_doubt
    if not result.aside:
        if result.version <= batch.version:
            return
        batch.version = result.version
        _take_totals(turn, campaign, batch, result)
    if permit is not None and permit.id == result.permit_id:
        _take_permit(turn, campaign, batch, permit, result)
    if result.settled:
        take_settled(campaign, batch, result)
    if result.open:
        take_open(turn, campaign, batch, result)
    if result.order:
        answered(turn, campaign, batch, result, doubtful)
    _end_batch(turn, campaign, batch)
    settle(turn, campaign, batch)
    turn.changed(batch)
    turn.changed(campaign)


def _take_totals(turn: Turn, campaign: CampaignRow, batch: BatchRow, result: ChunkResult) -> None:
    if result.accepted > batch.accepted:
        count_accepted(turn, campaign, result.accepted - batch.accepted)
    batch.accepted, batch.suppressed = result.accepted, result.suppressed
    batch.failed = rs.within(result.failed, batch.size) if result.failed else []
    batch.in_doubt = rs.within(result.in_doubt, batch.size) if result.in_doubt else []
    batch.awaited = result.awaited
    for error in result.errors:
        _note(campaign, error)


def _note(campaign: CampaignRow, error: SendError) -> None:
    if error not in campaign.last_errors:
        campaign.last_errors = [*campaign.last_errors, error][-MAX_ERRORS:]


def _take_permit(turn: Turn, campaign: CampaignRow, batch: BatchRow, permit: Permit, result: ChunkResult) -> None:
    relay = turn.tables.relay(campaign.relay)
    permit.heard_real = turn.real
    permit.begun = max(permit.begun, min(result.begun, permit.n))
    put_off(turn, campaign, batch, permit, result)
    if result.throttled > permit.throttled:
        permit.throttled = result.throttled
        if rates.throttle(relay, turn.tables.limits(relay.name).rate, permit, permit.begun, turn.real):
            turn.changed(relay)
    if result.final:
        _close(turn, campaign, batch, permit, result)


def _close(turn: Turn, campaign: CampaignRow, batch: BatchRow, permit: Permit, result: ChunkResult) -> None:
    """The permit is over: its quota, connections and rate are free again, what was not begun waits again.

    A probe is judged here and nowhere earlier: a relay that refuses everything has begun it as well, and whether the
    refusal meant a recipient or us is said when the permit ends.
    """
    tables, relay = turn.tables, turn.tables.relay(campaign.relay)
    domain = tables.domain_of(campaign)
    quota.roll_domain(domain, turn.now, tables.place(domain.name).timezone, tables.settings.assume)
    quota.roll_relay(relay, turn.now)
    doubtful = rs.total(rs.common(batch.in_doubt, permit.ranges)) if batch.in_doubt else 0
    quota.charge_domain(domain, permit, result, tables.settings.assume, doubtful)
    quota.charge_relay(relay, permit, result.begun)
    if permit.deferrals and permit.day == domain.day:
        domain.again = max(0, domain.again - permit.n + min(result.begun, permit.n))
    for paced in (relay, campaign):
        tail = rates.keep_tail(paced, permit, permit.begun, turn.real)
        if tail is not None:
            tables.wake_real(tail, "relay", relay.name)
    tables.drop_permit(campaign, permit.id)
    batch.permit = None
    _put_back(turn, campaign, batch, permit, result)
    judge(turn, relay, domain, permit, result)
    if result.begun < permit.n:
        _wake_short(turn, domain.short, relay)
        _wake_short(turn, relay.short, relay)
    for row in (relay, domain):
        turn.changed(row)
    turn.freed(relay)
    turn.fresh(campaign)


def _put_back(turn: Turn, campaign: CampaignRow, batch: BatchRow, permit: Permit, result: ChunkResult) -> None:
    """What was not begun waits again. Who is in doubt stays so: whether to resend is counted by the owner alone."""
    unsent = rs.common(result.unsent, permit.ranges) if result.unsent else []
    if result.aside and permit.round == 0 and batch.in_doubt:  # it names all that were permitted
        unsent = rs.minus(unsent, batch.in_doubt)
    if permit.resend and not result.begun:
        batch.resend = rs.union(batch.resend, rs.common(permit.resend, unsent))
    if campaign.state in ENDED:
        batch.cancelled = rs.union(batch.cancelled, unsent)
        return
    if result.stopped == "error":
        batch.failures += 1
        batch.error = result.detail or "the chunk failed without a reason"
        if batch.failures >= turn.tables.settings.max_failures:
            _drop(turn, campaign, batch, permit, unsent)
            return
        turn.tables.rest(campaign, batch, turn.real + 2.0 ** (batch.failures - 1))
    elif result.stopped == "unready":
        batch.error = result.detail or "something is not there yet"
        turn.tables.rest(campaign, batch, turn.real + (ASIDE_SECONDS if result.aside else UNREADY_SECONDS))
    else:
        batch.failures = 0
    if permit.deferrals:
        if unsent:
            make_ready(turn, batch, unsent, permit.deferrals, permit.round, permit.used)
        return
    batch.open = rs.union(batch.open, unsent) if unsent else batch.open
    if campaign.release_day == turn.tables.domain_of(campaign).day:
        campaign.release_left += rs.total(unsent)


def _drop(turn: Turn, campaign: CampaignRow, batch: BatchRow, permit: Permit, unsent: rs.Ranges) -> None:
    """The chunk has failed too often: its recipients are failed, the rest of the batch goes on."""
    chunk = chunk_of(turn, campaign, batch, permit)
    error = (
        f"chunk {permit.id} of batch {batch.campaign_id}/{batch.number} failed {batch.failures} times: {batch.error}"
    )
    turn.out.dead.append(Dead(error, chunk, batch.failures))
    _note(campaign, SendError(email="", error=error, attempts=batch.failures, at=turn.now))
    batch.dropped = rs.union(batch.dropped, unsent)
    batch.error, batch.failures = (
        f"{error}; its recipients are failed (`rampa campaign retry {batch.campaign_id}` tries them again)", 0,
    )  # fmt: skip


def _end_batch(turn: Turn, campaign: CampaignRow, batch: BatchRow) -> None:
    """A batch of which nothing waits and nothing is sent has ended: its row shrinks to what is still needed."""
    if batch.open or batch.deferred or batch.permit is not None:
        return
    batch.completed_at = batch.completed_at or turn.now
    if campaign.state in {"cancelled", "failed"} or not (batch.failed or batch.in_doubt or batch.dropped):
        batch.pointers, batch.checksum = (), ""


def _wake_short(turn: Turn, short: set[str], relay: RelayRow) -> None:
    for campaign_id in sorted(short):
        turn.fresh(turn.tables.campaigns[campaign_id])
    short.clear()
    turn.freed(relay)
