"""The plan by the tables of the strategies."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.plan import PlannedSize, Timetable, batch_sizes, plan, plan_summary
from planner.resolve import resolve_schedule, resolve_strategy
from schemas.calendar import is_sendable, local_day
from schemas.campaign import ResolvedSchedule
from schemas.request import Schedule
from schemas.strategy import Strategy, StrategySpec

MONDAY = datetime(2026, 2, 2, 12, tzinfo=UTC)  # 07:00 in Bogota
BOGOTA = "America/Bogota"


def planned(name: str, recipients: int = 4200, now: datetime = MONDAY, **schedule: object) -> list[PlannedSize]:
    strategy = resolve_strategy(StrategySpec(type=name), {}, warm=False)
    when, _ = resolve_schedule(Schedule.model_validate(schedule), strategy, timezone=BOGOTA, now=now)
    return list(plan(recipients, strategy, when))


def by_day(batches: list[PlannedSize]) -> dict[int, list[int]]:
    days: dict[int, list[int]] = {}
    for batch in batches:
        days.setdefault(batch.sending_day, []).append(batch.size)
    return days


def test_4200_by_ramp_up_are_46_batches_on_23_sending_days() -> None:
    batches = planned("ramp_up")
    assert by_day(batches) == {
        1: [25, 25], 2: [50, 50], 3: [75, 75], 4: [75, 75], 5: [75, 75],
        **{day: [100, 100] for day in range(6, 24)},
    }  # fmt: skip
    summary = plan_summary(batches)
    assert (summary.batches, summary.sending_days, summary.recipients) == (46, 23, 4200)


def test_4200_by_batch_are_9_batches_in_4_hours() -> None:
    batches = planned("batch")
    assert [b.size for b in batches] == [500] * 8 + [200]
    assert batches[0].scheduled_for == MONDAY
    assert batches[-1].scheduled_for - batches[0].scheduled_for == timedelta(hours=4)


def test_4200_by_conservative_are_173_batches_on_87_sending_days() -> None:
    batches = planned("conservative")
    assert by_day(batches) == {
        1: [10], 2: [10, 10], 3: [15, 15], 4: [15, 15], 5: [15, 15],
        **{day: [25, 25] for day in range(6, 87)}, 87: [25, 5],
    }  # fmt: skip
    assert plan_summary(batches).batches == 173


@pytest.mark.parametrize("name", ["ramp_up", "conservative"])
def test_skipping_weekends_gives_the_same_batches_at_later_times(name: str) -> None:
    skipping = planned(name, skip_weekends=True)
    daily = planned(name, skip_weekends=False)
    assert [(b.number, b.size, b.sending_day) for b in skipping] == [(b.number, b.size, b.sending_day) for b in daily]
    assert all(a.scheduled_for >= b.scheduled_for for a, b in zip(skipping, daily, strict=True))
    assert all(b.scheduled_for.weekday() < 5 for b in skipping)
    assert any(b.scheduled_for.weekday() >= 5 for b in daily)


def test_a_day_begins_with_its_window_and_the_interval_follows() -> None:
    batches = planned("ramp_up")
    assert batches[0].scheduled_for == datetime(2026, 2, 2, 14, tzinfo=UTC)  # 09:00 in Bogota
    assert batches[1].scheduled_for == datetime(2026, 2, 2, 15, tzinfo=UTC)
    assert batches[2].scheduled_for == datetime(2026, 2, 3, 14, tzinfo=UTC)


def test_a_late_start_moves_what_does_not_fit_and_keeps_every_days_limit() -> None:
    batches = planned("ramp_up", now=datetime(2026, 2, 2, 21, 30, tzinfo=UTC))  # 16:30: one release before 17:00
    assert batches[0].scheduled_for == datetime(2026, 2, 2, 21, 30, tzinfo=UTC)
    assert batches[1].scheduled_for == datetime(2026, 2, 3, 14, tzinfo=UTC)
    assert [b.size for b in batches] == [b.size for b in planned("ramp_up")]


def test_limits_are_of_the_domains_day_and_windows_of_the_schedules() -> None:
    strategy = resolve_strategy(StrategySpec(type="ramp_up", daily_limits=(50,)), {}, warm=False)
    schedule = Schedule.model_validate({"window": ("09:00", "17:00"), "timezone": "Asia/Tokyo", "skip_weekends": False})
    when, _ = resolve_schedule(schedule, strategy, timezone=BOGOTA, now=MONDAY)
    batches = list(plan(200, strategy, when, day_timezone=BOGOTA))
    # 09:00 in Tokyo is 19:00 in Bogota: each window has five hours of one day there and three of the next
    assert [b.scheduled_for for b in batches[:4]] == [
        datetime(2026, 2, 3, 0, tzinfo=UTC), datetime(2026, 2, 3, 1, tzinfo=UTC),
        datetime(2026, 2, 3, 5, tzinfo=UTC), datetime(2026, 2, 3, 6, tzinfo=UTC),
    ]  # fmt: skip
    for batch in batches:
        assert is_sendable(when, batch.scheduled_for)
    assert set(Counter(local_day(BOGOTA, b.scheduled_for) for b in batches).values()) == {2}
    assert [b.sending_day for b in batches] == [1, 1, 2, 2, 3, 3, 4, 4]


def test_a_list_of_intervals_is_the_wait_before_each_batch_and_its_last_repeats() -> None:
    strategy = resolve_strategy(StrategySpec(type="batch", interval_minutes=(0, 15, 60)), {}, warm=False)
    when = ResolvedSchedule(start_at=MONDAY, timezone="UTC")
    times = [b.scheduled_for for b in plan(2500, strategy, when)]
    assert [(b - a).total_seconds() / 60 for a, b in pairwise(times)] == [15, 60, 60, 60]


def test_batches_a_day_are_bounded() -> None:
    spec = StrategySpec(type="batch", max_batches_per_day=10, interval_minutes=15)
    when = ResolvedSchedule(start_at=MONDAY, timezone="UTC")
    batches = list(plan(500 * 25, resolve_strategy(spec, {}, warm=True), when))
    assert list(Counter(b.scheduled_for.date() for b in batches).values()) == [10, 10, 5]


def test_no_recipients_are_no_batches() -> None:
    assert planned("batch", 0) == []
    assert plan_summary([]).starts_at is None


def test_a_plan_past_the_end_of_the_calendar_stays_at_its_end() -> None:
    spec = StrategySpec(type="ramp_up", daily_limits=(1,), interval_minutes=60)
    start = datetime(9999, 12, 20, tzinfo=UTC)
    timetable = Timetable(resolve_strategy(spec, {}, warm=False), ResolvedSchedule(start_at=start, timezone="UTC"))
    times = [timetable.place(1)[0] for _ in range(30)]
    assert times == sorted(times)


strategies = st.builds(
    lambda limits, size, interval, most: resolve_strategy(
        StrategySpec(type="own"), {
            "own": StrategySpec(type="ramp_up", daily_limits=tuple(limits), batch_size=size, interval_minutes=interval,
                                max_batches_per_day=most)
        }, warm=False
    ),
    st.lists(st.integers(1, 300), min_size=1, max_size=8),
    st.none() | st.integers(1, 100),
    st.sampled_from([0, 15, 60, 300]),
    st.none() | st.integers(1, 5),
)  # fmt: skip


@given(strategy=strategies, recipients=st.integers(0, 2000), hour=st.integers(0, 23))
def test_a_plan_mails_everybody_in_order_and_keeps_the_limits(strategy: Strategy, recipients: int, hour: int) -> None:
    spec = Schedule.model_validate({"window": ("08:30", "19:00")})
    now = datetime(2026, 3, 1, hour, 11, tzinfo=UTC)
    when, _ = resolve_schedule(spec, strategy, timezone="Europe/Madrid", now=now)
    batches = list(plan(recipients, strategy, when))
    assert sum(b.size for b in batches) == recipients
    assert [b.number for b in batches] == list(range(1, len(batches) + 1))
    assert all(a.scheduled_for <= b.scheduled_for for a, b in pairwise(batches))
    assert all(is_sendable(when, b.scheduled_for) for b in batches)
    days = sorted({local_day(when.timezone, b.scheduled_for) for b in batches})
    slots = [slot.size for slot in islice(batch_sizes(strategy), len(batches))]
    assert [b.size for b in batches][:-1] == slots[:-1]
    assert len(days) <= (batches[-1].sending_day if batches else 0)


@given(strategy=strategies)
def test_slots_fill_each_day_up_to_its_limit(strategy: Strategy) -> None:
    slots = list(islice(batch_sizes(strategy), 300))
    complete = [s for s in slots if s.sending_day < slots[-1].sending_day]
    for day, sizes in by_day([PlannedSize(0, s.size, s.sending_day, MONDAY) for s in complete]).items():
        step = strategy.step(day)
        assert step.daily_limit is not None
        assert all(size <= step.batch_size for size in sizes)
        if strategy.max_batches_per_day is None:
            assert sum(sizes) == step.daily_limit
        else:
            assert len(sizes) <= strategy.max_batches_per_day
            assert sum(sizes) <= step.daily_limit
