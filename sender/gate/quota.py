"""Quota: one counter a domain and local day, one a relay and UTC day. Pure.

The counter of a day is what was begun on it, what may have arrived on it, and every message of every open permit,
whichever day the permit is of: a permit that is open over midnight counts for both days until its final result is
there.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Literal

from schemas.calendar import local_day, next_midnight
from schemas.chunk import ChunkResult
from schemas.strategy import Step, Strategy
from sender.gate.rows import DomainRow, Permit, RelayRow


def roll_domain(domain: DomainRow, now: datetime, timezone: str, assume: Literal["healthy", "none"]) -> bool:
    """Begins the domain's next local day when it has come; whether the row changed. Days never go back."""
    if domain.midnight is not None and now < domain.midnight:
        return False
    domain.midnight = next_midnight(timezone, now)
    today = local_day(timezone, now)
    if domain.day is not None and today <= domain.day:
        return False
    if domain.day is not None:
        if domain.days.get(domain.day, 0) > 0:
            advance(domain, assume)
        elif domain.reserved and domain.unsettled is None:
            domain.unsettled = domain.day
    domain.day, domain.again = today, 0
    domain.days = {day: n for day, n in domain.days.items() if day >= today}
    domain.maybe = {day: n for day, n in domain.maybe.items() if day >= today}
    return True


def advance(domain: DomainRow, assume: Literal["healthy", "none"]) -> None:
    """A sending day is over. Once feedback has spoken (`as_of`), it alone moves the domain on."""
    if assume == "healthy" and domain.as_of is None:
        domain.sending_day += 1


def charge_domain(
    domain: DomainRow, permit: Permit, result: ChunkResult, assume: Literal["healthy", "none"], doubtful: int = 0
) -> None:
    """A permit's final result: its reservation ends, what it began is used. `doubtful`: those of it in doubt.

    What was begun counts for the day of issue (nothing is begun past it), and also for another day on which its
    reply came. Of those in doubt nobody knows when they arrived: a process that was suspended in the middle of a
    message finishes it when it wakes. They may count for the present day too, and one a connection for the next.
    """
    domain.reserved -= permit.n
    begun = min(result.begun, permit.n)
    _add(domain.days, permit.day, begun)
    known = 0
    for day, n in result.sent_on.items():
        known += n
        if day != permit.day:
            _add(domain.days, day, n)
    today = domain.day or permit.day
    if today != permit.day:
        _add(domain.maybe, today, max(doubtful, begun - known))
        domain.days = {day: n for day, n in domain.days.items() if day >= today}
    _add(domain.maybe, today + timedelta(days=1), min(doubtful, permit.connections))
    if begun and domain.unsettled == permit.day:
        domain.unsettled = None
        advance(domain, assume)


def used(domain: DomainRow) -> int:
    """Messages that count for the domain's present day."""
    if domain.day is None:
        return domain.reserved
    return domain.days.get(domain.day, 0) + domain.maybe.get(domain.day, 0) + domain.reserved


def again_left(domain: DomainRow, limit: int) -> int:
    """What of a day's limit is left to those who were deferred before: half of it, so that a provider which refuses
    everybody for now does not keep all others waiting."""
    return max(1, limit // 2) - domain.again


def domain_limit(strategy: Strategy, sending_day: int, *, warm: bool) -> tuple[int | None, Step]:
    """The limit that a strategy gives at a sending day (None: none), and its step there.

    A domain whose warm-up is over is at the last step. `batch` counts in batches: it limits the domain's counter by
    `batch_size` x `max_batches_per_day` messages, whoever of the domain's campaigns sent them.
    """
    step = strategy.steps[-1] if warm else strategy.step(sending_day)
    limits = [] if step.daily_limit is None else [step.daily_limit]
    if strategy.type == "batch" and strategy.max_batches_per_day is not None:
        limits.append(strategy.max_batches_per_day * step.batch_size)
    return min(limits, default=None), step


def roll_relay(relay: RelayRow, now: datetime) -> bool:
    """Begins the relay's next UTC day when it has come; whether the row changed."""
    today = now.date()
    if relay.day is not None and today <= relay.day:
        return False
    relay.day = today
    relay.days = {day: n for day, n in relay.days.items() if day >= today}
    return True


def charge_relay(relay: RelayRow, permit: Permit, begun: int) -> None:
    """A permit's final result. It counts for the day on which it comes: until then its reservation did."""
    relay.reserved -= permit.n
    begun = min(begun, permit.n)
    if relay.account is not None:
        relay.account.begun += begun
    _add(relay.days, relay.day or permit.utc_day, begun)


def relay_used(relay: RelayRow) -> int:
    """Messages that count for the relay's present UTC day."""
    return (relay.days.get(relay.day, 0) if relay.day is not None else 0) + relay.reserved


def next_utc_midnight(now: datetime) -> datetime:
    """When the next UTC day begins."""
    return datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)


def _add(days: dict[date, int], day: date, n: int) -> None:
    if n > 0:
        days[day] = days.get(day, 0) + n
