"""The counters of a domain's local day and of a relay's UTC day, each rule by itself."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from gate_world import MONDAY, ZONE, batch_strategy, ramp_up
from hypothesis import given
from hypothesis import strategies as st

from schemas.chunk import ChunkResult
from sender.gate import quota
from sender.gate.account import Account
from sender.gate.rows import DomainRow, Permit, RelayRow
from sender.gate.rows_json import to_json

MON, TUE, WED = date(2026, 2, 2), date(2026, 2, 3), date(2026, 2, 4)
MIDNIGHT = datetime(2026, 2, 3, 5, 0, tzinfo=UTC)
"""Of the night from Monday to Tuesday in Bogota."""
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


def domain(**more: Any) -> DomainRow:
    return DomainRow("bore.example", "main", **{"day": MON, **more})


def permit(**more: Any) -> Permit:
    n = more.pop("n", 10)
    values: dict[str, Any] = {
        "id": "main:1", "round": 0, "ranges": [(0, n)], "connections": 2, "rate": 2.0, "until": MIDNIGHT,
        "issued_at": MONDAY, "issued_real": 100.0, "day": MON, "utc_day": MON, "asked_real": 100.0, **more,
    }  # fmt: skip
    made = Permit(**values)
    made.n = n
    return made


def result(begun: int, sent_on: dict[date, int] | None = None) -> ChunkResult:
    return ChunkResult(
        relay="main", campaign_id="c", batch_number=1, permit_id="main:1", round=0, version=1, final=True,
        begun=begun, at=MIDNIGHT,
        sent_on={MON: begun} if sent_on is None else sent_on,
    )  # fmt: skip


# --- a domain's day begins


def test_a_day_ends_at_local_midnight_and_not_before() -> None:
    row = domain(day=None)
    assert quota.roll_domain(row, MONDAY, ZONE, "healthy")
    assert (row.day, row.midnight) == (MON, MIDNIGHT)
    assert not quota.roll_domain(row, MIDNIGHT - TICK, ZONE, "healthy")
    assert row.day == MON
    assert quota.roll_domain(row, MIDNIGHT, ZONE, "healthy")
    assert (row.day, row.midnight) == (TUE, MIDNIGHT + DAY)


def test_a_day_that_goes_on_after_a_restart_keeps_what_it_has() -> None:
    row = domain(days={MON: 7}, again=3)
    assert not quota.roll_domain(row, MONDAY, ZONE, "healthy")
    assert (row.sending_day, row.days, row.again) == (1, {MON: 7}, 3)


def test_a_new_day_keeps_what_counts_for_it_and_forgets_the_past() -> None:
    row = domain(days={MON: 7, TUE: 2}, maybe={MON: 1, TUE: 3, WED: 4}, again=5)
    assert quota.roll_domain(row, MIDNIGHT, ZONE, "healthy")
    assert (row.days, row.maybe, row.again) == ({TUE: 2}, {TUE: 3, WED: 4}, 0)


@pytest.mark.parametrize(
    ("days", "assume", "spoken", "sending_day"),
    [
        ({MON: 1}, "healthy", False, 2),
        ({MON: 0}, "healthy", False, 1),
        ({TUE: 5}, "healthy", False, 1),
        ({MON: 1}, "none", False, 1),
        ({MON: 1}, "healthy", True, 1),
    ],
)
def test_a_domain_moves_on_after_a_day_with_mail_unless_feedback_decides(
    days: dict[date, int], assume: Any, spoken: bool, sending_day: int
) -> None:
    row = domain(days=days, as_of=MONDAY if spoken else None)
    quota.roll_domain(row, MIDNIGHT, ZONE, assume)
    assert (row.sending_day, row.unsettled) == (sending_day, None)


def test_a_day_whose_only_permit_is_open_at_midnight_is_settled_by_its_result() -> None:
    row = domain(reserved=10)
    quota.roll_domain(row, MIDNIGHT, ZONE, "healthy")
    quota.roll_domain(row, MIDNIGHT + DAY, ZONE, "healthy")
    assert to_json(row)["unsettled"] == "2026-02-02", "the first day, whose permit is still open"
    assert row.sending_day == 1
    quota.charge_domain(row, permit(n=4), result(4), "healthy")
    assert (row.unsettled, row.sending_day) == (None, 2)
    quota.charge_domain(row, permit(n=6), result(6), "healthy")
    assert row.sending_day == 2, "it was one day"


def test_a_day_on_which_nothing_was_open_or_begun_has_nothing_to_settle() -> None:
    row = domain()
    quota.roll_domain(row, MIDNIGHT, ZONE, "healthy")
    assert row.unsettled is None


@pytest.mark.parametrize(("unsettled", "begun"), [(MON, 0), (TUE, 5)])
def test_a_result_settles_its_own_day_and_only_when_mail_was_begun(unsettled: date, begun: int) -> None:
    row = domain(day=WED, unsettled=unsettled, reserved=10)
    quota.charge_domain(row, permit(), result(begun), "healthy")
    assert (row.unsettled, row.sending_day) == (unsettled, 1)


# --- what a result uses of a domain's day


def test_a_result_of_the_same_day_uses_what_was_begun_and_gives_the_rest_back() -> None:
    row = domain(days={MON: 3}, reserved=15)
    quota.charge_domain(row, permit(), result(6), "healthy")
    assert (row.days, row.maybe, row.reserved, quota.used(row)) == ({MON: 9}, {}, 5, 14)


def test_nobody_uses_more_than_was_permitted() -> None:
    row = domain(reserved=10)
    quota.charge_domain(row, permit(), result(99, {}), "healthy")
    assert (row.days, row.reserved) == ({MON: 10}, 0)


def test_a_result_after_midnight_counts_for_the_days_of_its_replies_and_what_has_none_for_today() -> None:
    row = domain(day=TUE, days={TUE: 1}, reserved=10)
    quota.charge_domain(row, permit(), result(9, {MON: 4, TUE: 2}), "healthy")
    assert (row.days, row.maybe) == ({TUE: 3}, {TUE: 3}), "of 9 begun 6 have a reply, 2 of them today"
    assert quota.used(row) == 6


def test_of_one_in_doubt_nobody_knows_the_day() -> None:
    row = domain(reserved=10)
    quota.charge_domain(row, permit(), result(10), "healthy", doubtful=1)
    assert row.maybe == {TUE: 1}
    row = domain(day=TUE, reserved=10)
    quota.charge_domain(row, permit(), result(10), "healthy", doubtful=5)
    assert row.maybe == {TUE: 5, WED: 2}, "on the day after only one a connection"


def test_a_domain_that_has_no_day_yet_has_what_is_reserved() -> None:
    row = domain(day=None, reserved=4)
    assert quota.used(row) == 4
    quota.charge_domain(row, permit(n=4), result(3), "healthy", doubtful=1)
    assert (row.days, row.maybe, quota.used(row)) == ({MON: 3}, {TUE: 1}, 0)


@given(
    st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.integers(1, 9),
    st.sampled_from([MON, TUE, WED]),
)  # fmt: skip
def test_all_that_was_begun_is_found_on_the_day_of_issue_or_today(
    begun: int, early: int, late: int, doubtful: int, connections: int, today: date
) -> None:
    sent_on = {day: n for day, n in ((MON, early), (today, late)) if n}
    row = domain(day=today, reserved=20)
    quota.charge_domain(row, permit(n=20, connections=connections), result(begun, sent_on), "none", doubtful)
    assert row.reserved == 0
    assert all(n > 0 for counter in (row.days, row.maybe) for n in counter.values())
    assert min({*row.days, *row.maybe}, default=today) >= today
    if today == MON:
        assert row.days.get(MON, 0) == begun
    else:
        unknown = begun - sum(sent_on.values())
        assert quota.used(row) == late + max(0, doubtful, unknown)


@pytest.mark.parametrize(
    ("limit", "again", "left"), [(10, 0, 5), (10, 2, 3), (11, 5, 0), (10, 7, -2), (1, 0, 1), (3, 1, 0)]
)
def test_half_of_a_day_is_for_who_was_deferred_and_never_nothing(limit: int, again: int, left: int) -> None:
    assert quota.again_left(domain(again=again), limit) == left


def test_a_domains_limit_is_its_steps_and_batch_counts_in_batches() -> None:
    assert [quota.domain_limit(ramp_up(), day, warm=False)[0] for day in (1, 2, 5, 6, 99)] == [50, 100, 150, 200, 200]
    limit, step = quota.domain_limit(ramp_up(), 1, warm=True)
    assert (limit, step) == (200, ramp_up().steps[-1])
    assert quota.domain_limit(batch_strategy(500, 100), 1, warm=True)[0] == 50_000
    endless = batch_strategy().model_copy(update={"max_batches_per_day": None})
    assert quota.domain_limit(endless, 1, warm=True)[0] is None
    own = ramp_up().model_copy(update={"max_batches_per_day": 1})
    assert quota.domain_limit(own, 1, warm=False)[0] == 50, "releases of a campaign, not of the domain"
    step = batch_strategy(30).steps[0].model_copy(update={"daily_limit": 90})
    both = batch_strategy(30, 100).model_copy(update={"steps": (step,)})
    assert quota.domain_limit(both, 1, warm=True)[0] == 90


# --- a relay's day


def test_a_relays_day_begins_at_midnight_utc() -> None:
    row = RelayRow("main")
    assert quota.roll_relay(row, MONDAY)
    row.days = {MON: 7, TUE: 2}
    assert not quota.roll_relay(row, quota.next_utc_midnight(MONDAY) - TICK)
    assert (row.day, row.days) == (MON, {MON: 7, TUE: 2})
    assert not quota.roll_relay(row, MONDAY - DAY)
    assert quota.roll_relay(row, quota.next_utc_midnight(MONDAY))
    assert (row.day, row.days) == (TUE, {TUE: 2})
    assert quota.next_utc_midnight(MONDAY) == datetime(2026, 2, 3, tzinfo=UTC)


@pytest.mark.parametrize(("day", "counted"), [(None, MON), (MON, MON), (TUE, TUE)])
def test_a_permit_counts_for_the_relays_day_on_which_its_result_comes(day: date | None, counted: date) -> None:
    row = RelayRow("main", day=day, days={counted: 1}, reserved=15)
    quota.charge_relay(row, permit(), 6)
    assert (row.days, row.reserved) == ({counted: 7}, 5)
    assert quota.relay_used(row) == (5 if day is None else 12)
    quota.charge_relay(row, permit(n=5), 99)
    assert (row.days, row.reserved) == ({counted: 12}, 0)


def test_a_relay_that_has_begun_nothing_today_has_used_what_is_reserved() -> None:
    assert quota.relay_used(RelayRow("main", day=TUE, days={MON: 7}, reserved=3)) == 3


def test_what_is_begun_counts_for_the_account_too() -> None:
    account = Account(read_real=0.0, again_seconds=1.0, begun=3)
    row = RelayRow("main", day=MON, account=account, reserved=10)
    quota.charge_relay(row, permit(), 4)
    assert account.begun == 7
