"""The plan: how large each batch is, and when it goes out if the domain advances every sending day.

Sizes follow from the strategy alone, so planning again gives the same batches whenever it is done.
Times are a forecast by the gate's own rules: limits of the local day, releases a day, intervals,
windows. Both work batch by batch: the number of recipients need not be known beforehand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from schemas.calendar import NeverOpens, local_day, next_midnight, next_sendable
from schemas.campaign import ResolvedSchedule
from schemas.strategy import Strategy


@dataclass(frozen=True, slots=True)
class Slot:
    """Room for a batch: at most `size` messages on sending day `sending_day` of the strategy's table."""

    size: int
    sending_day: int


@dataclass(frozen=True, slots=True)
class PlannedSize:
    """A batch of the plan, without its recipients. `scheduled_for` is in UTC."""

    number: int
    size: int
    sending_day: int
    scheduled_for: datetime


@dataclass(frozen=True, slots=True)
class PlanSummary:
    batches: int
    recipients: int
    sending_days: int
    starts_at: datetime | None
    ends_at: datetime | None
    """When the last batch goes out."""


def batch_sizes(strategy: Strategy, start_day: int = 1) -> Iterator[Slot]:
    """The slots of the strategy's table, without end: each sending day is filled up to its limit."""
    day = start_day
    while True:
        step = strategy.step(day)
        left, releases = step.daily_limit, 0
        while (left is None or left > 0) and releases != strategy.max_batches_per_day:
            size = step.batch_size if left is None else min(step.batch_size, left)
            yield Slot(size, day)
            left = None if left is None else left - size
            releases += 1
        day += 1


@dataclass(slots=True)
class Timetable:
    """Gives each batch, in order, its forecast.

    Limits are those of a day in `day_timezone`, where the sending domain's day begins, as the gate has it (None: in
    the schedule's time zone); windows and weekends are the schedule's.
    """

    strategy: Strategy
    schedule: ResolvedSchedule
    start_day: int = 1
    day_timezone: str | None = None
    sending_day: int = field(init=False, default=0)
    ends_at: datetime | None = field(init=False, default=None)
    _today: date | None = field(init=False, default=None)
    _used: int = field(init=False, default=0)
    _releases_today: int = field(init=False, default=0)
    _releases: int = field(init=False, default=0)
    _earliest: datetime = field(init=False)
    _zone: str = field(init=False)

    def __post_init__(self) -> None:
        self.sending_day = self.start_day - 1
        self._zone = self.day_timezone or self.schedule.timezone
        self._earliest = self.schedule.start_at + timedelta(minutes=self.strategy.wait_minutes(0))

    def place(self, size: int) -> tuple[datetime, int]:
        """When the next batch, of `size` messages, goes out, and on which sending day.

        A batch that does not fit into a day any more goes out in slices; the first one counts. A time
        that the calendar cannot name any more (year 10000) stays at the last that it can.
        Raises `NeverOpens`.
        """
        placed: tuple[datetime, int] | None = None
        try:
            while size > 0:
                at = self._next_release()
                size -= self._release(at, size)
                placed = placed or (at, self.sending_day)
        except (OverflowError, NeverOpens):
            if self.ends_at is None:
                raise NeverOpens(f"nothing can go out after {self.schedule.start_at}") from None
        return placed or (self.ends_at or self.schedule.start_at, self.sending_day)

    def _next_release(self) -> datetime:
        while True:
            at = next_sendable(self.schedule, self._earliest)
            if local_day(self._zone, at) != self._today or self._has_room():
                return at
            self._earliest = next_midnight(self._zone, at)

    def _has_room(self) -> bool:
        limit, most = self.strategy.step(self.sending_day).daily_limit, self.strategy.max_batches_per_day
        return (limit is None or self._used < limit) and (most is None or self._releases_today < most)

    def _release(self, at: datetime, size: int) -> int:
        today = local_day(self._zone, at)
        if today != self._today:
            self._today, self._used, self._releases_today = today, 0, 0
            self.sending_day += 1
        step = self.strategy.step(self.sending_day)
        taken = min(size, step.batch_size)
        if step.daily_limit is not None:
            taken = min(taken, step.daily_limit - self._used)
        self._used += taken
        self._releases_today += 1
        self._releases += 1
        self.ends_at = at
        self._earliest = at + timedelta(minutes=self.strategy.wait_minutes(self._releases))
        return taken


def plan(
    recipients: int,
    strategy: Strategy,
    schedule: ResolvedSchedule,
    *,
    start_day: int = 1,
    day_timezone: str | None = None,
) -> Iterator[PlannedSize]:
    """The batches of so many recipients; `day_timezone` as in `Timetable`. Raises `NeverOpens`."""
    timetable = Timetable(strategy, schedule, start_day, day_timezone)
    for number, slot in enumerate(batch_sizes(strategy, start_day), 1):
        if recipients <= 0:
            return
        size = min(slot.size, recipients)
        recipients -= size
        at, day = timetable.place(size)
        yield PlannedSize(number, size, day, at)


def plan_summary(batches: Iterable[PlannedSize]) -> PlanSummary:
    """Figures of a plan: how many, how long."""
    count = recipients = 0
    first: PlannedSize | None = None
    last: PlannedSize | None = None
    for batch in batches:
        first, last = first or batch, batch
        count += 1
        recipients += batch.size
    if first is None or last is None:
        return PlanSummary(0, 0, 0, None, None)
    days = last.sending_day - first.sending_day + 1
    return PlanSummary(count, recipients, days, first.scheduled_for, last.scheduled_for)
