"""Why something waits: one function a reason, each giving the figures and a sentence. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from schemas.base import rfc3339
from schemas.batch import HoldReason
from schemas.chunk import SendError
from schemas.units import show_rate
from schemas.words import counted
from sender.gate.fast import made
from sender.gate.rows import BatchRow, CampaignRow, DomainRow, RelayRow


def _hold(reason: Any, detail: str, until: datetime | None = None, **figures: float | str | None) -> HoldReason:
    return made(HoldReason, reason=reason, detail=detail, figures=figures, until=until)


def start_at(at: datetime, until: datetime) -> HoldReason:
    return _hold("start_at", f"the campaign starts at {rfc3339(at)}", until, start_at=rfc3339(at))


def window(campaign: CampaignRow, until: datetime | None, *, weekend: bool) -> HoldReason:
    """Outside of the hours or days of the campaign's schedule."""
    assert campaign.plan is not None  # noqa: S101
    schedule = campaign.plan.schedule
    shown = "any time" if schedule.window is None else "-".join(t.isoformat("minutes") for t in schedule.window)
    if weekend:
        return _hold(
            "weekend", f"it is the weekend in {schedule.timezone} and the campaign skips weekends", until,
            timezone=schedule.timezone,
        )  # fmt: skip
    if until is None:
        detail = f"the window {shown} ({schedule.timezone}) never opens; cancel the campaign and submit it with another"
    else:
        detail = f"outside of the window {shown} ({schedule.timezone})"
    return _hold("window", detail, until, window=shown, timezone=schedule.timezone)


def closing(closes: datetime, seconds: float, until: datetime | None) -> HoldReason:
    """Too near to midnight or the window's end to give out a permit that would be answered by then."""
    return _hold(
        "window", f"day or window end at {rfc3339(closes)}; nothing is begun in the last {seconds:.0f} s", until,
        closes_at=rfc3339(closes), margin_seconds=round(seconds, 3),
    )  # fmt: skip


def interval(minutes: float, due: datetime, releases: int) -> HoldReason:
    return _hold(
        "interval", f"release {releases + 1} goes out {minutes:g} min after the one before it", due,
        minutes=minutes, releases=releases,
    )  # fmt: skip


def daily_limit(domain: DomainRow, strategy: str, used: int, limit: int, until: datetime | None) -> HoldReason:
    return _hold(
        "daily_limit",
        f"{domain.name} has used {used} of {limit} messages of sending day {domain.sending_day} ({strategy})", until,
        domain=domain.name, used=used, reserved=domain.reserved, limit=limit, sending_day=domain.sending_day,
        strategy=strategy, day=str(domain.day),
    )  # fmt: skip


def daily_quota(relay: RelayRow, used: int, quota: int, until: datetime) -> HoldReason:
    return _hold(
        "daily_quota", f"relay {relay.name} has used {used} of its {quota} messages of this UTC day", until,
        relay=relay.name, used=used, reserved=relay.reserved, limit=quota, day=str(relay.day),
    )  # fmt: skip


def account_quota(relay: RelayRow, used: int, quota: int, until: datetime) -> HoldReason:
    """`until`: when the account will have been read again."""
    return _hold(
        "daily_quota", f"relay {relay.name} has used {used} of the {quota} messages that its account allows in 24 h",
        until, relay=relay.name, used=used, reserved=relay.reserved, limit=quota, hours=24,
    )  # fmt: skip


def account_refuses(relay: RelayRow, why: str, until: datetime) -> HoldReason:
    """`until`: when the account will have been read again."""
    return _hold("relay_down", f"the account of relay {relay.name} cannot send: {why}", until, relay=relay.name)


def batches_per_day(count: int, limit: int, until: datetime | None) -> HoldReason:
    return _hold(
        "batches_per_day", f"{count} of {limit} releases of this day have gone out", until, used=count, limit=limit
    )


def again_limit(domain: DomainRow, limit: int, until: datetime | None) -> HoldReason:
    return _hold(
        "daily_limit", f"{domain.again} of today's {limit} messages of {domain.name} went to who had been deferred; "
        "half of a day's limit is for the others", until,
        domain=domain.name, again=domain.again, limit=limit, sending_day=domain.sending_day, day=str(domain.day),
    )  # fmt: skip


def deferred(n: int, batches: int, times: int, due: datetime, last: SendError | None) -> HoldReason:
    """Recipients whom their servers refused for now."""
    said = f"; the last one: {last.email}: {last.error}" if last is not None else ""
    refused = f"{counted(n, 'recipient was', 'recipients were')} refused for now"
    return _hold(
        "deferred", f"{refused}; the next try comes by itself{said}", due,
        recipients=n, batches=batches, deferrals=times, next_due=rfc3339(due),
    )  # fmt: skip


def concurrent(n: int, limit: int) -> HoldReason:
    return _hold("concurrent_batches", f"{n} of {limit} batches are being sent", None, used=n, limit=limit)


def connections(campaign: CampaignRow, relay: RelayRow, limit: int) -> HoldReason:
    """All connections are taken, perhaps by older campaigns alone."""
    open_permits = [b for b in relay.permits.values() if b.permit is not None]
    used = sum(b.permit.connections for b in open_permits if b.permit is not None)
    others = sorted({b.campaign_id for b in open_permits} - {campaign.campaign_id})
    if others and not campaign.permits:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        return _hold(
            "older_campaigns", f"all {limit} connections of relay {relay.name} are used by {others[0]}{more}", None,
            relay=relay.name, used=used, limit=limit, campaigns=len(others),
        )  # fmt: skip
    return _hold(
        "connections", f"{used} of {limit} connections of relay {relay.name} are in use", None,
        relay=relay.name, used=used, limit=limit,
    )  # fmt: skip


def pace_connections(used: int, limit: int) -> HoldReason:
    return _hold("connections", f"the campaign uses {used} of its {limit} connections", None, used=used, limit=limit)


def rate(name: str, rate_now: float, limit: float | None) -> HoldReason:
    """The rate of a relay or of a campaign's own pace is given out; `throttled` when it is below its limit."""
    figures = {"rate": round(rate_now, 6), "limit": limit}
    if limit is None or rate_now < limit:
        return _hold(
            "throttled", f"{name} asked for less speed; it is down to {show_rate(rate_now)} and recovers slowly",
            None, **figures,
        )  # fmt: skip
    return _hold("rate", f"the rate of {name}, {show_rate(rate_now)}, is given out", None, **figures)


def paused(campaign: CampaignRow) -> HoldReason:
    why = f": {campaign.pause_reason}" if campaign.pause_reason else ""
    return _hold("paused", f"the campaign is paused{why}", None, why=campaign.pause_reason)


def domain_paused(domain: DomainRow) -> HoldReason:
    why = f": {domain.pause_reason}" if domain.pause_reason else ""
    return _hold("domain_paused", f"{domain.name} is paused{why}", None, domain=domain.name, why=domain.pause_reason)


def relay_down(relay: RelayRow, real: float, now: datetime, next_try: datetime) -> HoldReason:
    """The relay refuses us; the next try in real seconds."""
    assert relay.down is not None  # noqa: S101
    seconds = max(0.0, relay.down.next_real - real)
    when = "it is being tried now" if relay.down.probe else "it is tried again by itself"
    quota = relay.down.error.startswith("quota:")
    what = "says that its quota is used up" if quota else "cannot be used"
    return _hold(
        "daily_quota" if quota else "relay_down", f"relay {relay.name} {what}: {relay.down.error}; {when}",
        max(now, next_try),
        relay=relay.name, error=relay.down.error, attempts=relay.down.attempts, since=rfc3339(relay.down.since),
        next_try_seconds=round(seconds, 1),
    )  # fmt: skip


def domain_refused(domain: DomainRow, real: float, now: datetime, next_try: datetime) -> HoldReason:
    """The relay takes nothing from this domain; the next try in real seconds."""
    assert domain.down is not None  # noqa: S101
    seconds = max(0.0, domain.down.next_real - real)
    when = "it is being tried now" if domain.down.probe else "it is tried again by itself"
    return _hold(
        "domain_refused",
        f"relay {domain.relay} refuses mail from {domain.name}: {domain.down.error}; {when}", max(now, next_try),
        domain=domain.name, relay=domain.relay, error=domain.down.error, attempts=domain.down.attempts,
        since=rfc3339(domain.down.since), next_try_seconds=round(seconds, 1),
    )  # fmt: skip


def unknown_place(relay: str, domain: str) -> HoldReason:
    return _hold(
        "unknown_domain", f"the settings do not have domain {domain} with relay {relay}; add them and restart", None,
        relay=relay, domain=domain,
    )  # fmt: skip


def no_sender(silent: int, messages: int, seconds: float) -> HoldReason:
    """Permits of which nothing has been heard, for up to `seconds` of real time, and how many messages are on them."""
    what = f"{counted(silent, 'permit')} for {counted(messages, 'message')}"
    have = "has" if silent == 1 else "have"
    return _hold(
        "no_sender", f"{what} {have} had no answer for {seconds:.0f} s; is a sender running?", None,
        permits=silent, messages=messages, seconds=round(seconds),
    )  # fmt: skip


def resting(batch: BatchRow, real: float, until: datetime) -> HoldReason:
    """A batch that could not be sent as a whole rests before it is tried again."""
    tried = f", for the {batch.failures}. time" if batch.failures else ""
    return _hold(
        "error", f"batch {batch.number} could not be sent{tried}: {batch.error}; it is tried again by itself", until,
        batch=batch.number, failures=batch.failures, error=batch.error,
        next_try_seconds=round(max(0.0, (batch.retry_real or real) - real), 1),
    )  # fmt: skip


def aside(campaign_id: str, error: str) -> HoldReason:
    """The gate itself fails on the campaign."""
    return _hold(
        "error", f"the gate cannot decide on this campaign ({error}), so it is put aside and the others go on; "
        f"`rampa campaign resume {campaign_id}` tries it again, as does a restart of the gate", None, error=error,
    )  # fmt: skip


def in_doubt(campaign_id: str, n: int) -> HoldReason:
    who = counted(n, "recipient")
    return _hold(
        "in_doubt", f"of {who} it is not known whether the relay took the mail; `rampa campaign resolve {campaign_id}` "
        "with `--accepted`, `--drop` or `--resend` settles them", None, recipients=n,
    )  # fmt: skip
