"""When mail may go out: windows, weekends, local days, with time zones and daylight saving.

Pure: every function takes the moment, aware, of the installation's clock, and answers in UTC. A moment
is sendable when the local clock on the wall says so: `start <= local time < end`. So in the hour that
a change to winter time repeats, a window may close and open again; a time that a change to summer
time skips is reached at the moment of the change. A window over midnight belongs to the day on which
it opens: with weekends skipped, Friday's runs into Saturday and Sunday's does not open.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from schemas.campaign import ResolvedSchedule

HORIZON_DAYS = 400
"""A window that does not open within so many days never opens."""

MIDNIGHT = time(0)
DAY = timedelta(days=1)
SATURDAY = 5

Closed = Literal["start_at", "weekend", "window"]


class NeverOpens(ValueError):
    """The schedule allows no moment within `HORIZON_DAYS`."""


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name. Raises `zoneinfo.ZoneInfoNotFoundError`, a KeyError."""
    return ZoneInfo(name)


def local_day(timezone: str, now: datetime) -> date:
    """The calendar day in `timezone` at `now`."""
    return now.astimezone(zone(timezone)).date()


def next_midnight(timezone: str, now: datetime) -> datetime:
    """The first moment after `now` at which a later local day has begun (23, 24 or 25 hours a day)."""
    today = local_day(timezone, now)
    for instant in _moments(timezone, (MIDNIGHT,), today + DAY, now):
        if local_day(timezone, instant) > today:
            return instant
    raise NeverOpens(f"no day follows {today} in {timezone}")


def is_sendable(schedule: ResolvedSchedule, now: datetime) -> bool:
    """Whether mail may go out at `now`."""
    return why_closed(schedule, now) is None


def why_closed(schedule: ResolvedSchedule, now: datetime) -> Closed | None:
    """What forbids sending at `now`; None when nothing does."""
    if now < schedule.start_at:
        return "start_at"
    return _closed_at(schedule, now)


def next_sendable(schedule: ResolvedSchedule, now: datetime) -> datetime:
    """The first moment, `now` or later, at which mail may go out.

    Raises `NeverOpens` when there is none within `HORIZON_DAYS`.
    """
    begin = max(now, schedule.start_at)
    try:
        if _closed_at(schedule, begin) is None:
            return begin.astimezone(UTC)
        first = local_day(schedule.timezone, begin)
    except OverflowError:
        raise NeverOpens(f"{begin} is at the end of the calendar; nothing opens after it") from None
    opens = MIDNIGHT if schedule.window is None else schedule.window[0]
    for instant in _moments(schedule.timezone, (opens, MIDNIGHT), first, begin):
        if _closed_at(schedule, instant) is None:
            return instant
    raise NeverOpens(
        f"the window {_show(schedule)} never opens within {HORIZON_DAYS} days; "
        "give a window that the time zone has on a day that may be used, or null for any time"
    )


def closes_at(schedule: ResolvedSchedule, now: datetime) -> datetime | None:
    """The moment from which sending is not allowed any more; None when nothing ends it.

    At a moment that is closed already that is `now` itself.
    """
    if why_closed(schedule, now) is not None:
        return now.astimezone(UTC)
    if schedule.window is None and not schedule.skip_weekends:
        return None
    ends = MIDNIGHT if schedule.window is None else schedule.window[1]
    for instant in _moments(schedule.timezone, (ends, MIDNIGHT), local_day(schedule.timezone, now), now):
        if _closed_at(schedule, instant) is not None:
            return instant
    return None


def sendable_between(schedule: ResolvedSchedule, start: datetime, end: datetime) -> timedelta:
    """How much of the time from `start` to `end` is sendable; none when `end` is not later."""
    total, at = timedelta(0), max(start, schedule.start_at)
    if schedule.window is None and not schedule.skip_weekends:
        return max(total, end - at)
    while at < end:
        try:
            at = next_sendable(schedule, at)
        except NeverOpens:
            break
        closes = min(end, closes_at(schedule, at) or end)
        total += max(timedelta(0), closes - at)
        at = closes
    return total


def _closed_at(schedule: ResolvedSchedule, now: datetime) -> Closed | None:
    window = schedule.window
    if window is None and not schedule.skip_weekends:
        return None
    local = now.astimezone(zone(schedule.timezone))
    belongs = local
    if window is not None:
        start, end = window
        clock = local.time()
        if start < end:
            if not start <= clock < end:
                return "weekend" if schedule.skip_weekends and local.weekday() >= SATURDAY else "window"
        elif clock < end:
            belongs = local - DAY
        elif clock < start:
            return "weekend" if schedule.skip_weekends and local.weekday() >= SATURDAY else "window"
    return "weekend" if schedule.skip_weekends and belongs.weekday() >= SATURDAY else None


def _moments(timezone: str, walls: tuple[time, ...], first: date, after: datetime) -> Iterator[datetime]:
    """In order: the moments later than `after` at which the local clock shows one of `walls`, or is changed."""
    waiting: list[datetime] = []
    for ahead in range(-1, HORIZON_DAYS + 1):
        try:
            day = first + timedelta(days=ahead)
            settled = datetime.combine(day, _SETTLED, UTC)
        except OverflowError:
            break
        waiting = sorted({*waiting, *_on_day(timezone, walls, day)})
        while waiting and waiting[0] < settled:
            instant = waiting.pop(0)
            if instant > after:
                yield instant
    yield from (instant for instant in waiting if instant > after)


_SETTLED = time(8)
"""No moment of a later local day comes before this time of a day in UTC: no zone is 16 hours ahead."""


@lru_cache(maxsize=4096)
def _on_day(timezone: str, walls: tuple[time, ...], day: date) -> tuple[datetime, ...]:
    tz = zone(timezone)
    found = set()
    try:
        for wall in walls:
            for fold in (0, 1):
                instant = datetime.combine(day, wall, tz).replace(fold=fold).astimezone(UTC)
                if instant.astimezone(tz).replace(tzinfo=None, fold=0) == datetime.combine(day, wall):
                    found.add(instant)
        begin = datetime.combine(day, MIDNIGHT, tz).astimezone(UTC) - timedelta(seconds=1)
        changed = _change(tz, begin, datetime.combine(day + DAY, MIDNIGHT, tz).astimezone(UTC))
    except OverflowError:
        return ()
    if changed is not None:
        found.add(changed)
    return tuple(sorted(found))


def _change(tz: ZoneInfo, low: datetime, high: datetime) -> datetime | None:
    """The moment between two at which the offset from UTC changes, to the second."""
    before = low.astimezone(tz).utcoffset()
    if high.astimezone(tz).utcoffset() == before:
        return None
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
        if middle.astimezone(tz).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def _show(schedule: ResolvedSchedule) -> str:
    window = "any time" if schedule.window is None else "-".join(t.isoformat("minutes") for t in schedule.window)
    return f"{window} {schedule.timezone}{', weekends skipped' if schedule.skip_weekends else ''}"
