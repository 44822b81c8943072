"""The gate's smaller parts: index ranges, campaign states, rows, rate, quota, estimates."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import product

import orjson
import pytest
from gate_world import MONDAY, OFFICE, ZONE, World, batch_strategy, gate_campaign, plan, ramp_up, settings
from hypothesis import given
from hypothesis import strategies as st

from schemas.gate_state import GateRow
from sender.gate import eta, quota
from sender.gate import ranges as rs
from sender.gate import rate as rates
from sender.gate.rows import BatchRow, DomainRow, Permit, RelayRow
from sender.gate.rows_json import from_json, to_json
from sender.gate.settings import margin
from sender.gate.shell import encode_row
from sender.gate.states import ENDED, MOVES, STATES, MoveRefused, may_move, moved

index_sets = st.sets(st.integers(0, 40))


def as_ranges(indices: set[int]) -> rs.Ranges:
    return rs.union((i, i + 1) for i in indices)


def as_set(ranges: rs.Ranges) -> set[int]:
    return {i for start, end in ranges for i in range(start, end)}


@given(index_sets, index_sets, st.integers(0, 50))
def test_ranges_are_sets_of_indices(one: set[int], other: set[int], n: int) -> None:
    a, b = as_ranges(one), as_ranges(other)
    assert as_set(a) == one
    assert rs.total(a) == len(one)
    assert as_set(rs.union(a, b)) == one | other
    assert as_set(rs.minus(a, b)) == one - other
    assert as_set(rs.common(a, b)) == one & other
    assert as_set(rs.within(a, n)) == {i for i in one if i < n}
    first, rest = rs.take(a, n)
    assert as_set(first) == set(sorted(one)[:n])
    assert as_set(rest) == set(sorted(one)[n:])


ALLOWED = {
    ("planning", "scheduled"), ("planning", "completed"), ("planning", "paused"), ("planning", "cancelled"),
    ("planning", "failed"), ("scheduled", "running"), ("scheduled", "completed"), ("scheduled", "paused"),
    ("scheduled", "cancelled"), ("scheduled", "failed"), ("running", "completed"), ("running", "paused"),
    ("running", "cancelled"), ("paused", "scheduled"), ("paused", "running"), ("paused", "completed"),
    ("paused", "cancelled"), ("completed", "running"),
}  # fmt: skip


def test_the_table_of_states_has_exactly_these_moves() -> None:
    assert set(MOVES) == set(STATES)
    for old, new in product(STATES, STATES):
        assert may_move(old, new) == ((old, new) in ALLOWED)
        if (old, new) in ALLOWED:
            assert moved(old, new) == new
        else:
            with pytest.raises(MoveRefused, match=f"{old} cannot become {new}"):
                moved(old, new)


def test_nothing_leads_out_of_an_end_but_opening_a_completed_campaign_again() -> None:
    assert {(old, new) for old in ENDED for new in MOVES[old]} == {("completed", "running")}


def test_a_row_is_written_as_its_model_would_write_it() -> None:
    world = World(settings(), speed=60)
    world.give(*plan(gate_campaign(size=60, window=OFFICE), [25, 25, 10]))
    rows = world.core.rows()
    assert {table for table, _, _ in rows} == {"relay", "domain", "campaign", "batch"}
    for table, name, row in rows:
        key, value = encode_row(table, name, row)
        assert key == f"{table}:{name}".encode()
        assert value == GateRow(table=table, name=name, row=row).encode()


def test_a_waiting_batch_is_small_and_an_ended_one_smaller() -> None:
    world = World(settings(warm=True), speed=60)
    world.give(*plan(gate_campaign(size=1000, strategy=batch_strategy(500)), [500, 500]))
    waiting = max(len(orjson.dumps(row)) for table, _, row in world.core.rows() if table == "batch")
    world.run()
    ended = max(len(orjson.dumps(row)) for table, _, row in world.core.rows() if table == "batch")
    assert waiting < 700
    assert ended < 260


def permit(**more: object) -> Permit:
    made = Permit(
        id="main:1", round=0, ranges=[(0, 10)], connections=1, rate=2.0, until=MONDAY, issued_at=MONDAY,
        issued_real=100.0, day=date(2026, 2, 2), utc_day=date(2026, 2, 2), asked_real=100.0, n=10,
    )  # fmt: skip
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_throttling_halves_the_rate_and_a_tenth_comes_back_each_minute() -> None:
    relay = RelayRow("main")
    assert rates.throttle(relay, 8.0, permit(), 5, 110.0)
    assert rates.current(relay, 8.0, 110.0) == 4.0
    assert rates.current(relay, 8.0, 169.0) == 4.0
    assert rates.current(relay, 8.0, 170.0) == pytest.approx(4.4)
    assert rates.current(relay, 8.0, 110.0 + 60 * 8) == 8.0


def test_replies_to_permits_from_before_a_throttling_do_not_halve_again() -> None:
    relay = RelayRow("main")
    assert rates.throttle(relay, 8.0, permit(), 5, 110.0)
    assert not rates.throttle(relay, 8.0, permit(), 5, 111.0)
    assert rates.throttle(relay, 8.0, permit(issued_real=112.0), 5, 113.0)
    assert rates.current(relay, 8.0, 113.0) == 2.0


def test_a_relay_without_a_rate_is_throttled_below_what_it_was_sent() -> None:
    relay = RelayRow("main")
    assert rates.throttle(relay, None, permit(rate=None), 100, 110.0)
    assert rates.current(relay, None, 110.0) == 5.0
    assert rates.current(relay, None, 110.0 + 3600) is None


def test_the_rate_never_falls_below_one_message_a_minute() -> None:
    relay = RelayRow("main")
    for n in range(20):
        rates.throttle(relay, 1.0, permit(issued_real=200.0 + n), 1, 200.0 + n)
    assert rates.current(relay, 1.0, 220.0) == rates.FLOOR


def test_a_permit_that_ends_early_keeps_its_rate_for_the_time_that_it_should_have_taken() -> None:
    relay = RelayRow("main")
    assert rates.keep_tail(relay, permit(), 10, 101.0) == 105.0
    assert rates.in_use(relay, 104.9) == 2.0
    assert rates.in_use(relay, 105.0) == 0.0


def test_a_day_without_mail_is_no_sending_day() -> None:
    domain = DomainRow("bore.example", "main")
    assert quota.roll_domain(domain, MONDAY, ZONE, "healthy")
    assert quota.roll_domain(domain, MONDAY + timedelta(days=1), ZONE, "healthy")
    assert domain.sending_day == 1
    domain.days[date(2026, 2, 3)] = 1
    quota.roll_domain(domain, MONDAY + timedelta(days=2), ZONE, "healthy")
    assert (domain.sending_day, domain.days) == (2, {})


def test_a_day_never_goes_back() -> None:
    domain = DomainRow("bore.example", "main")
    quota.roll_domain(domain, MONDAY, ZONE, "healthy")
    restored = from_json(DomainRow, to_json(domain))
    assert not quota.roll_domain(restored, MONDAY - timedelta(days=1), ZONE, "healthy")
    assert restored.day == date(2026, 2, 2)


def test_the_margin_before_midnight_grows_with_the_clock_up_to_an_hour() -> None:
    assert margin(1) == timedelta(seconds=60.25)
    assert margin(3600) == timedelta(seconds=960)
    assert margin(1e6) == timedelta(hours=1)


def test_the_estimate_of_a_ramp_is_its_last_sending_day() -> None:
    campaign = gate_campaign(size=4200, window=OFFICE, weekends=True)
    standing = eta.Standing(4200, 1, False, True, 50, MONDAY, None)
    at = eta.estimate(MONDAY, ramp_up(), campaign.schedule, standing)
    assert at is not None
    # 23 sending days from Monday the 2nd of February: Wednesday the 4th of March
    assert at.date() == date(2026, 3, 4)
    assert 14 <= at.hour <= 16


@given(st.integers(1, 10**7), st.integers(1, 40), st.booleans(), st.integers(0, 200))
def test_an_estimate_is_quick_and_never_in_the_past(remaining: int, day: int, healthy: bool, left: int) -> None:
    standing = eta.Standing(remaining, day, False, healthy, left, MONDAY, 5.0)
    schedule = gate_campaign(size=1, window=OFFICE, weekends=True).schedule
    at = eta.estimate(MONDAY, ramp_up(), schedule, standing)
    assert at is None or at >= MONDAY


def test_nothing_left_has_no_estimate() -> None:
    schedule = gate_campaign(size=1).schedule
    now = datetime(2026, 2, 2, tzinfo=UTC)
    assert eta.estimate(now, ramp_up(), schedule, eta.Standing(0, 1, False, True, 50, now, None)) is None


def test_a_batch_of_an_older_release_has_pointers_without_checksums() -> None:
    batch = BatchRow("c", 1, 5, datetime(2026, 2, 2, tzinfo=UTC), pointers=((0, 7, 0, 3, "abc"), (1, 8, 3, 2, "def")))
    data = to_json(batch)
    assert from_json(BatchRow, data).pointers == batch.pointers
    data["pointers"] = [pointer[:4] for pointer in data["pointers"]]
    assert from_json(BatchRow, data).pointers == ((0, 7, 0, 3, ""), (1, 8, 3, 2, ""))
