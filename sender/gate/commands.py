"""Orders of people to campaigns and domains. Each is known again by the record that the person wrote."""

from __future__ import annotations

from schemas.command import GateCommand, Origin
from sender.gate import ranges as rs
from sender.gate.archive import refusal as archived
from sender.gate.decision import Turn
from sender.gate.deferrals import hasten
from sender.gate.doubts import release_again, resolve
from sender.gate.downs import try_now
from sender.gate.ending import cancel, reopen
from sender.gate.permits import control, tell_to_pause, tell_to_resume
from sender.gate.rows import CampaignRow, DomainRow, by_number
from sender.gate.show import settle
from sender.gate.states import ENDED, SENDING, moved
from sender.gate.tables import failed_ranges


def apply_command(turn: Turn, command: GateCommand) -> None:
    """An order to a campaign or to a domain. One that is not newer than the last of its origin changes nothing."""
    if command.campaign_id is not None:
        _to_campaign(turn, command, command.campaign_id)
    elif command.domain is not None:
        _to_domain(turn, command, command.domain)
    else:
        turn.dead("the command names neither a campaign nor a domain")


def _is_old(orders: dict[str, int], origin: Origin) -> bool:
    place = f"{origin.topic}/{origin.partition}"
    if origin.offset <= orders.get(place, -1):
        return True
    orders[place] = origin.offset
    return False


def _to_campaign(turn: Turn, command: GateCommand, campaign_id: str) -> None:
    campaign = turn.tables.campaigns.get(campaign_id)
    if campaign is None:
        turn.dead(
            f"{command.action}: the gate has no campaign {campaign_id} at relay {command.relay}; "
            "`rampa campaign list` shows those there are"
        )
        return
    if campaign.archived_at is not None and campaign.state != "failed":
        turn.dead(archived(campaign, command.action))
        return
    if _is_old(campaign.orders, command.origin):
        return
    turn.changed(campaign)
    if campaign.state == "planning":
        campaign.pending.append(command.model_dump(mode="json"))
        return
    apply_to_campaign(turn, campaign, command)


def apply_to_campaign(turn: Turn, campaign: CampaignRow, command: GateCommand) -> None:
    """The order itself, to a campaign whose plan is complete. One that makes no sense any more is a dead letter."""
    action, state = command.action, campaign.state
    if action == "pause" and (state in SENDING or state == "paused"):
        _pause(turn, campaign, command.reason)
    elif action == "resume" and (state in SENDING or state == "paused"):
        _resume(turn, campaign)
    elif action == "cancel" and state not in ENDED:
        cancel(turn, campaign, command.reason)
        for batch in sorted(campaign.permits.values(), key=lambda b: b.number):
            control(turn, campaign, batch, "cancel")
    elif action == "strategy" and command.strategy is not None and state not in ENDED:
        campaign.strategy = command.strategy
        most = max(step.batch_size for step in command.strategy.steps)
        campaign.release_left = min(campaign.release_left, most)
    elif action == "retry" and (state not in ENDED or state == "completed"):
        _retry(turn, campaign)
    elif action == "resolve" and state not in {"rejected", "failed"}:
        resolve(turn, campaign, command)
    elif not (action == "cancel" and state == "cancelled"):
        turn.dead(f"{action}: campaign {campaign.campaign_id} is {state}, which leaves nothing to {action}")
        return
    turn.changed(campaign)
    turn.fresh(campaign)


def _pause(turn: Turn, campaign: CampaignRow, reason: str | None) -> None:
    campaign.pause_reason = reason
    if campaign.state != "paused":
        campaign.state = moved(campaign.state, "paused")
        tell_to_pause(turn, campaign)


def _resume(turn: Turn, campaign: CampaignRow) -> None:
    try_now(turn, turn.tables.relay(campaign.relay))
    try_now(turn, turn.tables.domain_of(campaign))
    if turn.tables.aside.pop(campaign.campaign_id, None) is not None:
        turn.tables.take_up(campaign)
    if campaign.state != "paused":
        return
    campaign.state = moved(campaign.state, "running" if campaign.started_at else "scheduled")
    campaign.pause_reason = None
    if not turn.tables.domain_of(campaign).paused:
        tell_to_resume(turn, campaign)


def _retry(turn: Turn, campaign: CampaignRow) -> None:
    """Whoever has failed is tried again, in a round of its own; whoever was deferred is tried now; and so is a relay
    that is down, or a domain that is refused.

    Not those who were in doubt and given up by an order: they may have their message.
    """
    again, given_up, hastened = False, False, False
    for row in (turn.tables.relay(campaign.relay), turn.tables.domain_of(campaign)):
        hastened = hastened or row.down is not None
        try_now(turn, row)
    for batch in by_number(campaign):
        if hasten(turn, campaign, batch):
            hastened = True
            settle(turn, campaign, batch)
            turn.changed(batch)
        failed = rs.minus(failed_ranges(batch), batch.given_up)
        given_up = given_up or bool(batch.given_up)
        if failed:
            again = True
            release_again(turn, campaign, batch, failed)
    if again:
        reopen(turn, campaign)
    elif given_up and not hastened:
        turn.dead(
            f"retry: nobody of campaign {campaign.campaign_id} has failed but those whom `rampa campaign resolve "
            "--drop` has given up; they may have their message and are not mailed again"
        )


def _to_domain(turn: Turn, command: GateCommand, name: str) -> None:
    if turn.tables.place(name).relay != command.relay and name not in turn.tables.domains:
        turn.dead(f"{command.action}: the settings do not have domain {name} with relay {command.relay}")
        return
    if command.action not in {"pause", "resume"}:
        turn.dead(f"{command.action}: a domain can be paused and resumed, nothing else")
        return
    domain = turn.tables.domain(command.relay, name)
    if _is_old(domain.orders, command.origin):
        return
    turn.changed(domain)
    domain.paused = command.action == "pause"
    domain.pause_reason = command.reason if domain.paused else None
    if not domain.paused:
        try_now(turn, turn.tables.relay(command.relay))
        try_now(turn, domain)
    _tell_domain(turn, domain)


def _tell_domain(turn: Turn, domain: DomainRow) -> None:
    for campaign_id in sorted(domain.campaigns):
        campaign = turn.tables.campaigns[campaign_id]
        if domain.paused:
            tell_to_pause(turn, campaign)
        elif campaign.state != "paused":
            tell_to_resume(turn, campaign)
        turn.fresh(campaign)
