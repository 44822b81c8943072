"""How a campaign ends: completed by itself, cancelled by a person, failed by its plan; and how it is opened again."""

from __future__ import annotations

from sender.gate import ranges as rs
from sender.gate.decision import Turn
from sender.gate.rows import CampaignRow
from sender.gate.show import settle
from sender.gate.states import moved


def complete_if_done(turn: Turn, campaign: CampaignRow) -> None:
    """Nothing waits and nothing is in flight: the campaign is completed. Some may be in doubt.

    Not while a permit is open: until its final result somebody may come to be open or deferred under it.
    """
    turn.about = campaign.campaign_id
    if campaign.state not in {"scheduled", "running", "paused"} or campaign.permits:
        return
    if campaign.totals[0] or campaign.totals[1]:
        return
    campaign.state = moved(campaign.state, "completed")
    campaign.pause_reason = None
    _close(turn, campaign)


def cancel(turn: Turn, campaign: CampaignRow, reason: str | None = None) -> None:
    """Whoever waits is not mailed."""
    campaign.state = moved(campaign.state, "cancelled")
    campaign.cancel_reason = reason
    _close(turn, campaign)
    cancel_open(turn, campaign)


def fail(turn: Turn, campaign: CampaignRow, why: str) -> None:
    """The campaign cannot be sent: nothing of it was, and nothing will be."""
    campaign.state = moved(campaign.state, "failed")
    campaign.problem = why
    _close(turn, campaign)
    cancel_open(turn, campaign)


def reopen(turn: Turn, campaign: CampaignRow) -> None:
    """Something is to be sent again in a campaign that was completed."""
    if campaign.state == "completed":
        campaign.state = moved(campaign.state, "running")
        campaign.completed_at = None
        turn.tables.domain_of(campaign).campaigns.add(campaign.campaign_id)
    turn.changed(campaign)
    turn.fresh(campaign)


def _close(turn: Turn, campaign: CampaignRow) -> None:
    campaign.completed_at = turn.now
    campaign.minutes, campaign.tails, campaign.pending, campaign.release_left = [], [], [], 0
    campaign.last_deferral = None
    if campaign.plan is not None:
        domain = turn.tables.domain_of(campaign)
        domain.campaigns.discard(campaign.campaign_id)
        domain.short.discard(campaign.campaign_id)
    turn.tables.relay(campaign.relay).short.discard(campaign.campaign_id)
    turn.changed(campaign)
    turn.fresh(campaign)


def cancel_open(turn: Turn, campaign: CampaignRow) -> None:
    """Whoever waits is cancelled; what is in flight counts when its result comes."""
    for number in sorted(campaign.batches):
        batch = campaign.batches[number]
        if batch.open or batch.deferred:
            batch.cancelled = rs.union(batch.cancelled, batch.open, *(e.ranges for e in batch.deferred))
            batch.open, batch.resend, batch.deferred = [], [], []
            batch.retry_real = None
            if batch.permit is None:
                batch.completed_at, batch.pointers, batch.checksum = turn.now, (), ""
            settle(turn, campaign, batch)
            turn.changed(batch)
