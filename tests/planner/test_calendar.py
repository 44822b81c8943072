"""Windows, weekends, days and their changes to and from summer time."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.calendar import (
    NeverOpens,
    closes_at,
    is_sendable,
    local_day,
    next_midnight,
    next_sendable,
    why_closed,
)
from schemas.campaign import ResolvedSchedule

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
OFFICE = (time(9), time(17))
NIGHT = (time(22), time(6))
ZONES = ["UTC", "America/Bogota", "Europe/Madrid", "America/New_York", "Australia/Lord_Howe", "America/Santiago",
         "Africa/Cairo", "Asia/Kathmandu", "Pacific/Apia", "America/Havana", "Pacific/Kiritimati"]  # fmt: skip


def schedule(
    window: tuple[time, time] | None,
    zone: str = "Europe/Madrid",
    *,
    weekends: bool = True,
    start_at: datetime = LONG_AGO,
) -> ResolvedSchedule:
    return ResolvedSchedule(start_at=start_at, timezone=zone, window=window, skip_weekends=not weekends)


def at(text: str, zone: str = "Europe/Madrid", fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


def test_an_open_window_is_used_at_once_and_ends_at_its_end() -> None:
    now = at("2026-02-03T10:15")
    assert next_sendable(schedule(OFFICE), now) == now
    assert closes_at(schedule(OFFICE), now) == at("2026-02-03T17:00")


def test_the_end_of_a_window_is_not_part_of_it() -> None:
    assert is_sendable(schedule(OFFICE), at("2026-02-03T09:00"))
    assert not is_sendable(schedule(OFFICE), at("2026-02-03T17:00"))
    assert next_sendable(schedule(OFFICE), at("2026-02-03T17:00")) == at("2026-02-04T09:00")


def test_a_weekend_is_skipped() -> None:
    friday_evening = at("2026-02-06T18:00")
    monday = at("2026-02-09T09:00")
    assert next_sendable(schedule(OFFICE, weekends=False), friday_evening) == monday
    assert why_closed(schedule(OFFICE, weekends=False), at("2026-02-07T10:00")) == "weekend"
    assert why_closed(schedule(OFFICE, weekends=False), friday_evening) == "window"


def test_without_a_window_a_weekend_begins_and_ends_at_midnight() -> None:
    any_time = schedule(None, weekends=False)
    assert closes_at(any_time, at("2026-02-05T10:00")) == at("2026-02-07T00:00")
    assert next_sendable(any_time, at("2026-02-07T00:00")) == at("2026-02-09T00:00")
    assert closes_at(schedule(None), at("2026-02-05T10:00")) is None


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_opens() -> None:
    nights = schedule(NIGHT, weekends=False)
    assert is_sendable(nights, at("2026-02-07T05:59"))  # Friday's, on Saturday
    assert closes_at(nights, at("2026-02-06T23:00")) == at("2026-02-07T06:00")
    assert not is_sendable(nights, at("2026-02-09T03:00"))  # Sunday's, on Monday
    assert next_sendable(nights, at("2026-02-07T06:00")) == at("2026-02-09T22:00")


def test_a_closed_moment_closes_now() -> None:
    now = at("2026-02-03T18:00")
    assert closes_at(schedule(OFFICE), now) == now


def test_nothing_goes_out_before_the_start() -> None:
    later = schedule(OFFICE, start_at=at("2026-02-05T12:00"))
    assert why_closed(later, at("2026-02-04T12:00")) == "start_at"
    assert next_sendable(later, at("2026-02-04T12:00")) == at("2026-02-05T12:00")


def test_a_window_keeps_its_local_hours_over_a_change_to_summer_time() -> None:
    assert next_sendable(schedule(OFFICE), at("2026-03-28T20:00")) == datetime(2026, 3, 29, 7, tzinfo=UTC)
    assert next_sendable(schedule(OFFICE), at("2026-03-27T20:00")) == datetime(2026, 3, 28, 8, tzinfo=UTC)


def test_a_window_that_opens_in_the_hour_that_is_skipped_opens_at_the_change() -> None:
    change = datetime(2026, 3, 29, 1, tzinfo=UTC)  # 02:00 becomes 03:00 in Madrid
    early = schedule((time(2, 30), time(9)))
    assert next_sendable(early, at("2026-03-29T00:00")) == change
    assert closes_at(schedule((time(0), time(2, 30))), at("2026-03-29T00:30")) == change


def test_a_window_within_the_hour_that_is_skipped_opens_the_next_day() -> None:
    skipped = schedule((time(2, 15), time(2, 45)))
    assert next_sendable(skipped, at("2026-03-29T00:00")) == at("2026-03-30T02:15")


def test_in_the_hour_that_is_repeated_the_clock_on_the_wall_decides() -> None:
    early = schedule((time(2, 30), time(9)))
    first, again = at("2026-10-25T02:30"), at("2026-10-25T02:30", fold=1)
    assert again - first == timedelta(hours=1)
    assert next_sendable(early, at("2026-10-25T00:00")) == first
    assert closes_at(early, first) == at("2026-10-25T02:00", fold=1)
    assert next_sendable(early, at("2026-10-25T02:00", fold=1)) == again


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_a_day_has_the_hours_that_it_has(day: str, hours: int) -> None:
    begin = at(f"{day}T00:00")
    assert next_midnight("Europe/Madrid", begin) - begin == timedelta(hours=hours)


def test_a_day_whose_midnight_is_skipped_begins_at_the_change() -> None:
    # Chile: on 2025-09-07 00:00 became 01:00.
    begin = next_midnight("America/Santiago", at("2025-09-06T12:00", "America/Santiago"))
    assert begin == datetime(2025, 9, 7, 4, tzinfo=UTC)
    assert local_day("America/Santiago", begin) == date(2025, 9, 7)


def test_a_day_that_a_country_left_out_is_passed_over() -> None:
    # Samoa had no 2011-12-30.
    begin = next_midnight("Pacific/Apia", at("2011-12-29T12:00", "Pacific/Apia"))
    assert local_day("Pacific/Apia", begin) == date(2011, 12, 31)


def test_a_window_that_never_opens_is_an_error_that_says_so() -> None:
    for hour in (18, 23):  # on the last day that the calendar has
        last = schedule(OFFICE, weekends=False, start_at=datetime(9999, 12, 31, hour, 30, tzinfo=UTC))
        with pytest.raises(NeverOpens, match=r"never opens|end of the calendar"):
            next_sendable(last, LONG_AGO)


moments = st.integers(0, 21 * 365 * 86400).map(
    lambda seconds: datetime(2009, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
windows = st.none() | st.tuples(st.times(), st.times()).filter(lambda w: w[0] != w[1])


@given(now=moments, zone=st.sampled_from(ZONES), window=windows, weekends=st.booleans())
def test_the_next_sendable_moment_is_sendable_not_before_now_and_the_first(
    now: datetime, zone: str, window: tuple[time, time] | None, weekends: bool
) -> None:
    plan = schedule(window, zone, weekends=weekends)
    found = next_sendable(plan, now)
    assert found >= now
    assert is_sendable(plan, found)
    assert next_sendable(plan, found) == found
    if found > now:
        assert not is_sendable(plan, now)
        for part in range(1, 20):
            between = now + (found - now) * part / 20
            assert between >= found or not is_sendable(plan, between)
        assert not is_sendable(plan, found - timedelta(microseconds=1))


@given(now=moments, later=st.timedeltas(timedelta(0), timedelta(days=5)), zone=st.sampled_from(ZONES), window=windows)
def test_later_is_never_earlier(now: datetime, later: timedelta, zone: str, window: tuple[time, time] | None) -> None:
    plan = schedule(window, zone, weekends=False)
    assert next_sendable(plan, now) <= next_sendable(plan, now + later)


@given(now=moments, zone=st.sampled_from(ZONES), window=windows)
def test_until_it_closes_a_schedule_is_open_and_then_it_is_not(
    now: datetime, zone: str, window: tuple[time, time] | None
) -> None:
    plan = schedule(window, zone, weekends=False)
    begin = next_sendable(plan, now)
    end = closes_at(plan, begin)
    assert end is not None
    assert end > begin
    assert not is_sendable(plan, end)
    assert all(is_sendable(plan, begin + (end - begin) * part / 20) for part in range(20))


@given(now=moments, zone=st.sampled_from(ZONES))
def test_midnight_is_the_first_moment_of_a_later_day(now: datetime, zone: str) -> None:
    midnight = next_midnight(zone, now)
    assert now < midnight <= now + timedelta(hours=49)
    assert local_day(zone, midnight) > local_day(zone, now)
    assert local_day(zone, midnight - timedelta(microseconds=1)) == local_day(zone, now)
