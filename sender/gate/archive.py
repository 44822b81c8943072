"""Campaigns that ended long ago: their recipients are given up, later what is kept of their batches. Pure.

Two steps, each in a transaction of its own, so that doing it again after a crash repeats nothing:

1. `archive_after` after its end the campaign is archived. The planner is told, in the same transaction, to take its
   recipients off `batch.recipients`; nothing of it can be opened again from here on.
2. Once `chunks` has forgotten its permits, the owner of each batch is told to forget it, and the gate's rows of the
   batches go. That order follows all permits of the batch under the same key, so none can find the batch unknown.

What stays: the campaign's row with its figures, so that its id is never used again and people can still ask.
"""

from __future__ import annotations

from schemas.command import Origin, PlannerInput
from sender.gate.decision import Turn
from sender.gate.permits import control
from sender.gate.rows import CampaignRow, by_number
from sender.gate.states import ENDED

AT_ONCE = 200
"""Batches that are forgotten in one turn."""
NOBODY = Origin(topic="", partition=0, offset=0)
"""No record of a person's stands behind it."""


def look(turn: Turn) -> None:
    """Archives what is due among the campaigns of this turn; wakes the others when they are."""
    for campaign in turn.campaigns.values():
        if campaign.state not in ENDED or campaign.archived_at is not None or campaign.completed_at is None:
            continue
        turn.about = campaign.campaign_id
        if turn.now < campaign.completed_at + turn.tables.settings.archive_after:
            turn.tables.wake_ended(campaign)
        elif not campaign.permits:  # else the last result brings it here again
            archive(turn, campaign)


def archive(turn: Turn, campaign: CampaignRow) -> None:
    """From now on nothing of it can be sent, and its recipients are to go."""
    campaign.archived_at = turn.now
    if campaign.batches:
        campaign.archived_real, campaign.kept = turn.real, list(campaign.totals)
        campaign.kept_left_out = campaign.left_out
        campaign.kept_states = {state: n for state, n in campaign.states.items() if n}
    campaign.last_errors, campaign.pending, campaign.asked, campaign.orders = [], [], [], {}
    campaign.last_deferral = None  # all of these name recipients
    campaign.shown_state = None
    turn.out.planner.append(
        PlannerInput(campaign_id=campaign.campaign_id, kind="archive", origin=NOBODY, received_at=turn.now)
    )
    turn.tables.wake_ended(campaign)
    turn.changed(campaign)


def forget(turn: Turn, campaign: CampaignRow) -> None:
    """Its time has come: the next of its batches go, and their owners are told."""
    if campaign.archived_at is None or turn.real < campaign.archived_real + turn.tables.settings.forget_after:
        return
    for batch in by_number(campaign)[:AT_ONCE]:
        control(turn, campaign, batch, "forget")
        del campaign.batches[batch.number]
        turn.gone(batch)
    turn.tables.wake_ended(campaign)


def refusal(campaign: CampaignRow, action: str) -> str:
    """Why an order to an archived campaign cannot be carried out."""
    at = f"{campaign.archived_at:%Y-%m-%d %H:%M} UTC" if campaign.archived_at is not None else "some time ago"
    return (
        f"{action}: campaign {campaign.campaign_id} was archived at {at}: its recipients are gone, and nothing of it "
        "can be changed; send a campaign of another id"
    )
