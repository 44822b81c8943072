"""What follows from a server's answer: an end, or another try at a later time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.smtp.errors import RelayDown
from sender.smtp.outcomes import Kind, Outcome
from sender.tries import CLEAN_RETRIES, SLOWER, Tries

KINDS: list[Kind] = ["accepted", "failed", "transient", "throttled", "lost_before", "lost_after"]


def test_a_transient_failure_is_tried_again_after_1_2_4_and_8_seconds_and_then_is_an_end() -> None:
    tries, now = Tries(4), 100.0
    for wait in (1, 2, 4, 8):
        assert tries.settle(7, Outcome("transient"), now) == 0
        assert tries.next_at == now + wait
        assert tries.due(now) is None
        now += wait
        assert tries.due(now) == 7
    assert tries.settle(7, Outcome("transient"), now) == 5
    assert tries.of(7) == 0


def test_a_connection_lost_before_the_body_is_nobodys_fault_a_few_times() -> None:
    tries = Tries(0)
    for _ in range(CLEAN_RETRIES):
        assert tries.settle(7, Outcome("lost_before"), 5.0) == 0
        assert tries.due(5.0) == 7
        assert tries.of(7) == 0
    assert tries.settle(7, Outcome("lost_before"), 5.0) == 1


def test_who_is_accepted_after_two_failures_took_three_tries() -> None:
    tries = Tries(4)
    tries.settle(7, Outcome("transient"), 0.0)
    tries.settle(7, Outcome("transient"), 2.0)
    assert tries.settle(7, Outcome("accepted"), 4.0) == 3
    assert tries.settle(7, Outcome("accepted"), 4.0) == 1


def test_replies_that_ask_for_less_speed_at_one_moment_count_once_and_what_is_accepted_makes_up_for_them() -> None:
    tries = Tries(4)
    for index in range(3):
        tries.settle(index, Outcome("throttled"), 10.0)
    assert tries.slow_until == 10.0 + SLOWER[0]
    tries.settle(3, Outcome("throttled"), 11.0)
    assert tries.slow_until == 11.0 + SLOWER[1]
    tries.settle(4, Outcome("accepted"), 12.0)
    tries.settle(5, Outcome("throttled"), 13.0)
    assert tries.slow_until == 13.0 + SLOWER[0]


def test_a_relay_that_refuses_us_is_no_recipients_matter() -> None:
    tries = Tries(4)
    with pytest.raises(RelayDown, match="go away"):
        tries.settle(7, Outcome("relay_down", 550, text="go away"), 0.0)
    assert (tries.of(7), tries.next_at) == (0, None)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(KINDS)), max_size=60), st.integers(0, 5))
def test_an_index_waits_or_has_ended_and_no_end_takes_more_tries_than_allowed(
    steps: list[tuple[int, Kind]], max_retries: int
) -> None:
    tries, now, waiting = Tries(max_retries), 0.0, set[int]()
    for index, kind in steps:
        now += 20.0
        while (due := tries.due(now)) is not None:
            waiting.remove(due)
        took = tries.settle(index, Outcome(kind), now)
        assert took <= min(max_retries, 4) + 1
        if took:
            assert tries.of(index) == 0
        else:
            waiting.add(index)
        assert bool(tries) == bool(waiting)
    assert set(tries.waiting()) == waiting
    assert not tries
