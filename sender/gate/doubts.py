"""Recipients of whom nobody knows whether they were mailed: what people, evidence and their owners say of them."""

from __future__ import annotations

from schemas.chunk import ChunkResult, Evidence
from schemas.command import GateCommand
from schemas.words import counted
from sender.gate import ranges as rs
from sender.gate.decision import Dead, Turn
from sender.gate.ending import reopen
from sender.gate.permits import control
from sender.gate.rows import Asked, BatchRow, CampaignRow, by_number
from sender.gate.show import settle
from sender.gate.tables import doubtful_ranges


def resolve(turn: Turn, campaign: CampaignRow, command: GateCommand) -> None:
    """What is to become of those in doubt, or of the one with that address.

    To send to all again is the gate's to do: a round of its own. The owner of each batch settles the rest, and finds
    out who has an address.
    """
    resend = command.resolution == "resend"
    if resend and campaign.state == "cancelled":
        turn.dead("resolve: nobody of a cancelled campaign is sent to again; say `accepted` or `drop`")
        return
    waiting: dict[str, int] = {}
    for batch in by_number(campaign):
        doubtful = doubtful_ranges(batch)
        if doubtful and resend and command.address is None:
            batch.resend = rs.union(batch.resend, doubtful)
            release_again(turn, campaign, batch, doubtful)
            reopen(turn, campaign)
        elif doubtful:
            waiting[str(batch.number)] = control(
                turn, campaign, batch, "resolve",
                resolution=command.resolution, address=command.address, indices=tuple(doubtful),
            )  # fmt: skip
    if waiting or command.address is not None:
        asked = Asked(waiting, command.model_dump(mode="json"))
        campaign.asked.append(asked)
        _done(turn, campaign, asked)


def answered(
    turn: Turn, campaign: CampaignRow, batch: BatchRow, result: ChunkResult, doubtful: rs.Ranges
) -> None:  # fmt: skip
    """The owner of a batch has done what was ordered about those in doubt, or about one with an address.

    `doubtful`: who was in doubt before. Whoever failed of them may have his message: he is not tried again.
    """
    for asked in list(campaign.asked):
        if asked.waiting.get(str(batch.number)) == result.order:
            if asked.command.get("resolution") == "drop":
                batch.given_up = rs.union(batch.given_up, rs.common(doubtful, batch.failed))
            del asked.waiting[str(batch.number)]
            asked.found += result.resolved
            asked.aside = f"batch {batch.number}: {result.detail}" if result.aside else asked.aside
            _done(turn, campaign, asked)


def _done(turn: Turn, campaign: CampaignRow, asked: Asked) -> None:
    """Every batch has answered. An order that was about nobody is a dead letter, and so is one about all of them that
    not every batch could carry out."""
    if asked.waiting:
        return
    campaign.asked.remove(asked)
    command = GateCommand.model_validate(asked.command)
    if command.address is None:
        error = _not_all(asked) if asked.aside else None
    else:
        error = None if asked.found else _nobody(asked, campaign.campaign_id, command.address)
    if error is not None:
        turn.out.dead.append(Dead(error, command=command))


def _not_all(asked: Asked) -> str:
    return (
        f"resolve: {counted(asked.found, 'recipient was', 'recipients were')} settled, but a batch is put aside and "
        "nobody of it was. Say it again when a sender has been started that can read and handle the batch (`rampa dlq "
        f"list` shows what is wrong with it): {asked.aside}"
    )


def _nobody(asked: Asked, campaign_id: str, address: str) -> str:
    if asked.aside:
        return (
            f"resolve: nobody with the address {address} was settled, but not every batch could be asked. "
            f"Say it again when this is mended: {asked.aside}"
        )
    return (
        f"resolve: nobody in doubt in campaign {campaign_id} has the address {address}; "
        f"`rampa campaign recipients {campaign_id} --state in_doubt` shows those there are"
    )


def evidence(turn: Turn, given: Evidence) -> None:
    """A message was seen. Its owner is told when it may be in doubt there, now or once its owner's death is noticed; or
    when another one is to be sent to the same recipient, who may have been begun before."""
    campaign = turn.tables.campaigns.get(given.campaign_id)
    batch = campaign.batches.get(given.batch_number) if campaign else None
    if campaign is None or batch is None or campaign.archived_at is not None:
        return  # long over
    one = (given.recipient_index, given.recipient_index + 1)
    known = [*batch.in_doubt, *(batch.permit.ranges if batch.permit is not None else ())]
    if batch.released_at is not None:
        known += [*batch.open, *batch.cancelled, *batch.dropped, *(r for e in batch.deferred for r in e.ranges)]
    if rs.common([one], known):
        turn.about = campaign.campaign_id
        control(turn, campaign, batch, "evidence", indices=(one,))


def take_settled(campaign: CampaignRow, batch: BatchRow, result: ChunkResult) -> None:
    """Who was settled by an order waits no more, whatever he waited for."""
    gone = rs.within(result.settled, batch.size)
    waited = rs.total(rs.common(batch.open, gone))
    campaign.release_left = max(0, campaign.release_left - waited)
    batch.open, batch.cancelled = rs.minus(batch.open, gone), rs.minus(batch.cancelled, gone)
    batch.dropped, batch.resend = rs.minus(batch.dropped, gone), rs.minus(batch.resend, gone)
    for later in batch.deferred:
        later.ranges = rs.minus(later.ranges, gone)
    batch.deferred = [later for later in batch.deferred if later.ranges]


def take_open(turn: Turn, campaign: CampaignRow, batch: BatchRow, result: ChunkResult) -> None:
    """Who is open again at the owner though no permit of his is: his doubt was settled, he was never mailed."""
    known = (
        *batch.open, *batch.cancelled, *batch.dropped, *(batch.permit.ranges if batch.permit is not None else ()),
        *(r for later in batch.deferred for r in later.ranges),
    )  # fmt: skip
    again = rs.minus(rs.within(result.open, batch.size), known)
    if not again:
        return
    if campaign.state in {"cancelled", "failed"}:
        batch.cancelled = rs.union(batch.cancelled, again)
        return
    batch.open, batch.completed_at = rs.union(batch.open, again), None
    reopen(turn, campaign)


def release_again(turn: Turn, campaign: CampaignRow, batch: BatchRow, again: rs.Ranges) -> None:
    """These indices are open again, in a round of their own."""
    batch.open = rs.union(batch.open, again)
    batch.dropped = rs.minus(batch.dropped, again)
    batch.round += 1
    batch.completed_at = None
    batch.failures, batch.error = 0, None
    settle(turn, campaign, batch)
    turn.changed(batch)
