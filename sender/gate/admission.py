"""From a plan to a campaign that may be released: nothing before all of its batches are known."""

from __future__ import annotations

from schemas.batch import BatchPlanned, PlanComplete, PlanFailed
from schemas.command import GateCommand
from sender.gate.archive import archive
from sender.gate.commands import apply_to_campaign
from sender.gate.decision import Turn
from sender.gate.ending import fail
from sender.gate.rows import BatchRow, CampaignRow
from sender.gate.show import show_batch
from sender.gate.states import ENDED, moved

MAX_PROBLEM = 1000
"""Characters of why a plan was given up that are kept."""


def batch_planned(turn: Turn, planned: BatchPlanned) -> None:
    """A batch of a plan. The same again changes nothing; another one under its name is refused."""
    campaign = _campaign(turn, planned.campaign_id, planned.relay, planned.content_hash)
    name = f"batch {planned.campaign_id}/{planned.batch_number}"
    if campaign.state in ENDED:
        return
    if campaign.content_hash != planned.content_hash:
        _refuse(turn, campaign, f"{name} is of content {planned.content_hash}, the campaign of {campaign.content_hash}")
        return
    known = campaign.batches.get(planned.batch_number)
    if known is not None:
        if known.size != planned.size or known.checksum not in {"", planned.checksum}:
            _refuse(turn, campaign, f"{name} was planned again with other recipients: has the source changed?")
        return
    if campaign.state != "planning" or planned.batch_number > (campaign.batches_planned or planned.batch_number):
        _refuse(turn, campaign, f"{name} came after a plan of {campaign.batches_planned} batches was complete")
        return
    batch = BatchRow(
        campaign_id=planned.campaign_id, number=planned.batch_number, size=planned.size,
        scheduled_for=planned.scheduled_for, sending_day=planned.sending_day,
        pointers=tuple((p.partition, p.offset, p.start, p.count, p.checksum) for p in planned.pointers),
        checksum=planned.checksum, open=[(0, planned.size)],
    )  # fmt: skip
    turn.tables.add_batch(campaign, batch)
    turn.batches[batch.key] = batch
    turn.changed(batch)
    _admit(turn, campaign)


def plan_complete(turn: Turn, complete: PlanComplete) -> None:
    """The plan has so many batches. Repeated, it makes the gate show the campaign's progress again."""
    plan = complete.campaign
    campaign = _campaign(turn, plan.campaign_id, complete.relay, plan.content_hash)
    if campaign.content_hash != plan.content_hash:
        _refuse(turn, campaign, f"a plan of content {plan.content_hash}, the campaign is of {campaign.content_hash}")
        return
    campaign.shown_state = None  # so that it is shown at the end of this turn
    turn.campaigns[campaign.campaign_id] = campaign
    if campaign.plan is not None:
        if campaign.batches_planned != complete.batches:
            _refuse(
                turn, campaign,
                f"planned again with {complete.batches} batches instead of {campaign.batches_planned}: "
                "has the source changed?",
            )  # fmt: skip
        return
    campaign.plan, campaign.batches_planned = plan, complete.batches
    campaign.strategy = plan.strategy
    turn.changed(campaign)
    _admit(turn, campaign)


def plan_failed(turn: Turn, failed: PlanFailed) -> None:
    """The planner gave the plan up. Its batches go; one small row stays, which makes the gate ignore late ones.

    The planner tells people; the gate shows only that the batches are cancelled.
    """
    campaign = _campaign(turn, failed.campaign_id, failed.relay, failed.content_hash)
    if campaign.state in ENDED:
        return
    if campaign.plan is not None or campaign.content_hash != failed.content_hash:
        what = "its plan is complete" if campaign.plan is not None else f"it is of content {campaign.content_hash}"
        turn.dead(f"a plan of campaign {failed.campaign_id}, content {failed.content_hash}, was given up, but {what}")
        return
    campaign.state = moved(campaign.state, "failed")
    campaign.problem = "; ".join(failed.problems)[:MAX_PROBLEM] or "the plan was given up"
    for batch in list(campaign.batches.values()):
        batch.open, batch.cancelled, batch.error = [], [(0, batch.size)], campaign.problem
        turn.tables.settle(campaign, batch)
        show_batch(turn, campaign, batch)
        turn.gone(batch)
    campaign.batches, campaign.waiting, campaign.states, campaign.totals = {}, [], {}, [0] * 7
    campaign.completed_at = turn.now
    archive(turn, campaign)  # at once: nobody of it will ever be mailed


def _campaign(turn: Turn, campaign_id: str, relay: str, content_hash: str) -> CampaignRow:
    campaign = turn.tables.campaigns.get(campaign_id)
    if campaign is None:
        campaign = turn.tables.campaigns[campaign_id] = CampaignRow(campaign_id, relay, content_hash)
        turn.changed(campaign)
    return campaign


def _admit(turn: Turn, campaign: CampaignRow) -> None:
    """Opens the campaign once all of its batches are known."""
    plan = campaign.plan
    if campaign.state != "planning" or plan is None or len(campaign.batches) < (campaign.batches_planned or 0):
        return
    problem = _problem(campaign)
    if problem is not None:
        fail(turn, campaign, problem)
        return
    campaign.state = moved(campaign.state, "scheduled")
    turn.tables.domain_of(campaign).campaigns.add(campaign.campaign_id)
    turn.changed(campaign)
    pending, campaign.pending = campaign.pending, []
    for command in pending:
        apply_to_campaign(turn, campaign, GateCommand.model_validate(command))
    turn.fresh(campaign)


def _problem(campaign: CampaignRow) -> str | None:
    plan, batches = campaign.plan, campaign.batches
    assert plan is not None  # noqa: S101
    if len(batches) != campaign.batches_planned or any(n > len(batches) for n in batches):
        return f"the plan has {campaign.batches_planned} batches, but batches up to {max(batches)} were planned"
    planned, wanted = sum(campaign.totals), plan.recipients - plan.invalid - plan.duplicate
    if planned != wanted:
        return f"the batches have {planned} recipients, the plan has {wanted}"
    return None


def _refuse(turn: Turn, campaign: CampaignRow, why: str) -> None:
    """An input that contradicts what is known: fails a campaign that has not begun, else is a dead letter."""
    if campaign.state in {"planning", "scheduled"}:
        fail(turn, campaign, why)
    else:
        turn.dead(f"{why}; the campaign is {campaign.state} and goes on as it was planned first")
