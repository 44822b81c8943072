"""What an operator is told without asking: one alert for each cause and each time that it happens. Pure.

Looked at once at the end of a turn. That an alert was written stands in the row that it is about, and both go out
in one transaction: an owner that dies in between, and the next one, write it once.
"""

from __future__ import annotations

from schemas.base import rfc3339
from schemas.records import Alert
from schemas.words import counted
from sender.gate import ranges as rs
from sender.gate.decision import Dead, Turn
from sender.gate.downs import costs_somebody, is_quota, refuses_for_good
from sender.gate.limits import refusal, used_up
from sender.gate.rows import BatchRow, CampaignRow, DomainRow, Down, RelayRow
from sender.gate.silence import is_lost, unanswered
from sender.gate.tables import failed_ranges

UNREACHABLE_SECONDS = 60.0
"""Real time for which a relay that cannot be reached, or is busy, is nobody's concern."""
CONFIRMED = 2
"""Tries in a row that a relay must refuse before anybody is told: one refusal may be a slip."""
MANY = 5
"""Recipients of a batch who must have failed, all of them, to be worth an alert; fewer are everyday bounces."""

_OVER = frozenset({"completed", "cancelled"})


def look(turn: Turn) -> None:
    """Writes the alerts that follow from what has changed in this turn."""
    for relay in turn.relays.values():
        _relay(turn, relay)
    for row in list(turn.out.rows.values()):
        if isinstance(row, DomainRow) and (row.down is not None or row.down_alert is not None):
            _domain(turn, row)
    for relay in turn.tables.relays.values():
        if relay.silent_alert is not None or relay.name in turn.missed:
            _silence(turn, relay)
    for dead in turn.out.dead:
        if dead.chunk is not None:
            _chunk(turn, dead)
    for batch in turn.batches.values():
        if batch.permit is not None or batch.open or not batch.failed:
            continue
        turn.about = batch.campaign_id
        _batch(turn, turn.tables.campaigns[batch.campaign_id], batch)
    for campaign in turn.campaigns.values():
        if campaign.doubt_alert is None and (campaign.state not in _OVER or not campaign.totals[4]):
            continue
        turn.about = campaign.campaign_id
        _doubt(turn, campaign)


# --- relays


def _relay(turn: Turn, relay: RelayRow) -> None:
    if relay.down is not None or relay.down_alert is not None or relay.account is not None:
        _down(turn, relay)
    if relay.quota_alert != relay.day:
        _quota(turn, relay)


def _down(turn: Turn, relay: RelayRow) -> None:
    down, known, refused = relay.down, relay.down_alert, refusal(relay, turn.real)
    if down is None and refused is None:
        if known is not None:
            relay.down_alert = None
            _of_relay(turn, relay, known, "relay_down", "info", f"relay {relay.name} takes mail again", resolved=True)
    elif known is None and (refused is not None or (down is not None and _serious(down, turn.real))):
        since = rfc3339(turn.now if down is None else down.since)
        error = refused or (down.error if down is not None else "")
        relay.down_alert = f"relay_down:{relay.name}:{since}"
        _of_relay(
            turn, relay, relay.down_alert, "relay_down", "critical",
            f"relay {relay.name} cannot be used, and all that goes out by it waits: {error}; nobody is failed for it, "
            "and it is tried again by itself",
            error=error, attempts=None if down is None else down.attempts, since=since,
        )  # fmt: skip


def _domain(turn: Turn, domain: DomainRow) -> None:
    """The relay takes nothing from this sending domain."""
    down, known = domain.down, domain.down_alert
    if down is None and known is not None:
        domain.down_alert = None
        detail = f"relay {domain.relay} takes mail from {domain.name} again"
        if turn.tables.place(domain.name).relay != domain.relay:
            detail = f"mail from {domain.name} does not go out by relay {domain.relay} any more"
        _of_domain(turn, domain, known, "info", detail, {}, resolved=True)
    elif down is not None and known is None and _serious(down, turn.real):
        since = rfc3339(down.since)
        domain.down_alert = f"domain_refused:{domain.name}:{since}"
        _of_domain(
            turn, domain, domain.down_alert, "critical", f"relay {domain.relay} refuses mail from {domain.name}, and "
            f"all of it waits: {down.error}; nobody is failed for it, other domains of the relay go on, and it is "
            "tried again by itself", {"error": down.error, "attempts": down.attempts, "since": since},
        )  # fmt: skip


def _of_domain(
    turn: Turn, domain: DomainRow, id_: str, severity: str, detail: str, figures: dict[str, float | str | None], *,
    resolved: bool = False,
) -> None:  # fmt: skip
    turn.out.alerts.append(
        Alert.model_validate({
            "id": id_, "sending_domain": domain.name, "kind": "domain_refused", "severity": severity, "detail": detail,
            "figures": figures, "resolved": resolved, "relay": domain.relay, "at": turn.now,
        })
    )  # fmt: skip
    turn.changed(domain)


def _serious(down: Down, real: float) -> bool:
    if down.attempts < CONFIRMED or is_quota(down.error):
        return False
    if refuses_for_good(down.error) or costs_somebody(down.error):
        return True
    return real - down.since_real >= UNREACHABLE_SECONDS


def _silence(turn: Turn, relay: RelayRow) -> None:
    """No sender answers for what is permitted. It is over when one answers for all of it: a gate that was away knows
    only then."""
    known, silent = relay.silent_alert, unanswered(turn.tables, relay, turn.real)
    if known is not None and not silent:
        relay.silent_alert = None
        detail = f"for all that was given out for relay {relay.name} a sender answers again"
        _of_relay(turn, relay, known, "no_sender", "info", detail, resolved=True)
    elif known is None and any(b.permit is not None and is_lost(turn.tables, b.permit, turn.real) for b in silent):
        relay.silent_alert = f"no_sender:{relay.name}:{rfc3339(turn.now)}"
        messages, seconds = sum(b.figures[1] for b in silent), turn.tables.settings.lost_after
        _of_relay(
            turn, relay, relay.silent_alert, "no_sender", "critical",
            f"no sender has answered for {counted(messages, 'message')} of relay {relay.name} for {seconds:.0f} s; is "
            "one running (`rampa up`, `rampa worker sender`)? They wait, and go on by themselves when one is",
            permits=len(silent), messages=messages, seconds=seconds,
        )  # fmt: skip


def _quota(turn: Turn, relay: RelayRow) -> None:
    limit, day, account = turn.tables.limits(relay.name).daily_quota, relay.day, relay.account
    if day is None or (limit is None and account is None):
        return
    used = relay.days.get(day, 0)
    if limit is not None and used >= limit:
        what, rest = f"{limit} messages of {day} (UTC)", "when the next day begins"
    elif account is not None and account.quota is not None and used_up(relay, turn.real):
        what, rest = f"{account.quota} messages that its account allows in 24 hours", "as the account allows"
        used, limit = account.sent + account.begun, account.quota
    elif relay.down is not None and relay.down.attempts >= CONFIRMED and is_quota(relay.down.error):
        what, rest = f"messages that its account allows ({relay.down.error})", "as the account allows"
    else:
        return
    relay.quota_alert = day
    _of_relay(
        turn, relay, f"daily_quota:{relay.name}:{day}", "daily_quota", "warning",
        f"relay {relay.name} has used all {what}; what waits goes out {rest}", used=used, limit=limit, day=str(day),
    )  # fmt: skip


def _of_relay(
    turn: Turn, relay: RelayRow, id_: str, kind: str, severity: str, detail: str, *, resolved: bool = False,
    **figures: float | str | None,
) -> None:  # fmt: skip
    """An alert for each sending domain of the relay."""
    domains = {name for name, place in turn.tables.settings.domains.items() if place.relay == relay.name}
    domains |= {row.name for row in turn.tables.domains.values() if row.relay == relay.name and row.campaigns}
    for name in sorted(domains):
        turn.out.alerts.append(
            Alert.model_validate({
                "id": f"{id_}:{name}", "sending_domain": name, "kind": kind, "severity": severity, "detail": detail,
                "figures": figures, "resolved": resolved, "relay": relay.name, "at": turn.now,
            })
        )  # fmt: skip
    turn.changed(relay)


# --- campaigns


def _chunk(turn: Turn, dead: Dead) -> None:
    chunk = dead.chunk
    assert chunk is not None  # noqa: S101 - only these are asked for
    campaign = turn.tables.campaigns[chunk.campaign_id]
    _of_campaign(
        turn, campaign, f"chunk_failed:{chunk.permit_id}", "chunk_failed", "critical", f"{dead.error}; its recipients "
        f"are failed (`rampa campaign retry {chunk.campaign_id}` tries them again)", batch=chunk.batch_number,
        recipients=chunk.permitted(), attempts=dead.attempts,
    )  # fmt: skip


def _batch(turn: Turn, campaign: CampaignRow, batch: BatchRow) -> None:
    """All of a batch failed: hardly the recipients' fault."""
    if batch.alerted_round == batch.round or batch.accepted:
        return
    failed = 0 if batch.dropped else rs.total(failed_ranges(batch))  # a chunk that was dropped has its own alert
    if failed < MANY or failed + batch.suppressed < batch.size:
        return
    batch.alerted_round = batch.round
    last = f"; the last error: {campaign.last_errors[-1].error}" if campaign.last_errors else ""
    _of_campaign(
        turn, campaign, f"batch_failed:{batch.campaign_id}/{batch.number}:{batch.round}", "batch_failed", "warning",
        f"all {failed} recipients of batch {batch.campaign_id}/{batch.number} failed{last}", batch=batch.number,
        recipients=failed,
    )  # fmt: skip
    turn.changed(batch)


def _doubt(turn: Turn, campaign: CampaignRow) -> None:
    """A campaign that has ended, and recipients of whom nobody knows whether they were mailed."""
    waiting, in_flight, _, _, in_doubt, *_ = campaign.totals
    known, name = campaign.doubt_alert, campaign.campaign_id
    ended = campaign.state in _OVER and not waiting and not in_flight
    if ended and in_doubt and known is None:
        ways = "`--accepted` or `--drop`" if campaign.state == "cancelled" else "`--accepted`, `--drop` or `--resend`"
        campaign.doubt_alert = f"in_doubt:{name}:{rfc3339(campaign.completed_at or turn.now)}"
        _of_campaign(
            turn, campaign, campaign.doubt_alert, "in_doubt", "warning",
            f"campaign {name} is {campaign.state} with {counted(in_doubt, 'recipient')} of whom it is not known "
            f"whether the relay took the mail (`rampa campaign recipients {name} --state in_doubt` lists them; "
            f"`rampa campaign resolve {name}` with {ways} settles them)",
            recipients=in_doubt,
        )  # fmt: skip
    elif known is not None and not in_doubt:
        campaign.doubt_alert = None
        detail = f"nobody of campaign {name} is in doubt any more"
        _of_campaign(turn, campaign, known, "in_doubt", "info", detail, resolved=True)
    else:
        return
    turn.changed(campaign)


def _of_campaign(
    turn: Turn, campaign: CampaignRow, id_: str, kind: str, severity: str, detail: str, *, batch: int | None = None,
    resolved: bool = False, **figures: float | str | None,
) -> None:  # fmt: skip
    domain = campaign.plan.sending_domain if campaign.plan is not None else ""
    turn.out.alerts.append(
        Alert.model_validate({
            "id": id_, "sending_domain": domain, "kind": kind, "severity": severity, "detail": detail,
            "figures": figures, "resolved": resolved, "relay": campaign.relay, "campaign_id": campaign.campaign_id,
            "batch_number": batch, "at": turn.now,
        })
    )  # fmt: skip
