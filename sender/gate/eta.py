"""When a campaign will probably be done. Pure.

An estimate by its own limits alone: the domain's daily limits (moving on a day at a time when days are taken for
healthy, staying where they are otherwise), weekends, the interval between releases, and the relay's rate. Other
campaigns of the domain, retries and hours in which something is held are not foreseen.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.calendar import NeverOpens, next_sendable
from schemas.campaign import ResolvedSchedule
from schemas.strategy import Strategy
from sender.gate.quota import domain_limit

MAX_DAYS = 3650


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the campaign stands. `left_today`: what the domain's limit still allows today (None: no limit).
    `rate`: messages a second of the installation's clock."""

    remaining: int
    sending_day: int
    warm: bool
    advancing: bool
    left_today: int | None
    next_release: datetime
    rate: float | None


def opens(schedule: ResolvedSchedule, at: datetime | None) -> datetime | None:
    """When the schedule allows what is due `at`; None when nothing is, or never."""
    try:
        return None if at is None else next_sendable(schedule, at)
    except (NeverOpens, OverflowError):
        return None


def estimate(now: datetime, strategy: Strategy, schedule: ResolvedSchedule, at: Standing) -> datetime | None:
    """When the last of `remaining` goes out; None when nothing remains or it is too far to say."""
    if at.remaining <= 0:
        return None
    left, days = at.remaining, 0
    _, step = domain_limit(strategy, at.sending_day, warm=at.warm)
    if at.left_today is not None and left > at.left_today:
        left -= at.left_today
        day = at.sending_day
        while True:
            days += 1
            day += at.advancing
            limit, step = domain_limit(strategy, day, warm=at.warm)
            if limit is None or left <= limit:
                break
            if not at.advancing or step is strategy.steps[-1]:
                more = (left - 1) // limit
                left, days = left - more * limit, days + more
                break
            left -= limit
    if days > MAX_DAYS:
        return None
    return _on_day(now, strategy, schedule, at, days, left, step.batch_size)


def _on_day(
    now: datetime, strategy: Strategy, schedule: ResolvedSchedule, at: Standing, days: int, left: int, batch_size: int
) -> datetime | None:
    releases = max(0, -(-left // batch_size) - 1)
    begin = max(now, at.next_release)
    try:
        begin = next_sendable(schedule, _day_begin(begin, schedule, days) if days else begin)
    except (NeverOpens, OverflowError):
        return None
    end = begin + timedelta(minutes=releases * strategy.intervals_minutes[-1])
    if at.rate:
        end = max(end, begin + timedelta(seconds=left / at.rate))
    return end


def _day_begin(begin: datetime, schedule: ResolvedSchedule, days: int) -> datetime:
    """So many sending days later, without the hours of the day before the window opens."""
    if schedule.skip_weekends:
        weeks, rest = divmod(days, 5)
        weekday = min(begin.weekday(), 4)
        days = weeks * 7 + rest + (2 if weekday + rest > 4 else 0)
    later = begin + timedelta(days=days)
    if schedule.window is None:
        return later.replace(hour=0, minute=0, second=0, microsecond=0)
    return later - timedelta(hours=12) if later.hour >= 12 else later
