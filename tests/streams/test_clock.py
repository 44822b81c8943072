"""The clock of an installation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from streams.clock import ManualClock, ScaledClock


def test_a_fast_clock_passes_a_day_in_seconds() -> None:
    start = datetime(2026, 2, 2, 11, tzinfo=UTC)
    clock = ScaledClock(epoch_real=1000.0, epoch_virtual=start.timestamp(), speed=28_800)
    assert clock.at(1003.0) == start + timedelta(days=1)
    assert clock.real_seconds(timedelta(days=1)) == 3.0


@given(st.floats(1e9, 2e9), st.floats(0.5, 50_000), st.floats(0, 1e5), st.floats(0, 1e5))
def test_processes_with_the_same_record_agree_and_time_never_goes_back(
    epoch: float, speed: float, a: float, b: float
) -> None:
    one, other = ScaledClock(epoch, epoch, speed), ScaledClock(epoch, epoch, speed)
    first, second = sorted((a, b))
    assert one.at(epoch + first) == other.at(epoch + first)
    assert one.at(epoch + first) <= one.at(epoch + second)


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    before = clock.now()
    assert clock.now() == before
    assert clock.move(timedelta(hours=1)) - before == timedelta(hours=1)
