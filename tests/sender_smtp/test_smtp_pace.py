from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sender.smtp.pace import SLACK, Pace


def test_the_bucket_starts_empty() -> None:
    pace, wait = Pace.begin(5.0, 100.0).take(100.0)
    assert wait == 0.2 or abs(wait - 0.2) < 1e-9
    _, wait = pace.take(100.0)
    assert abs(wait - 0.4) < 1e-9


def test_no_rate_never_waits() -> None:
    pace = Pace.begin(None, 0.0)
    for _ in range(3):
        pace, wait = pace.take(0.0)
        assert wait == 0.0


def test_a_pause_is_not_saved_up() -> None:
    pace = Pace.begin(10.0, 0.0)
    waits = []
    for _ in range(5):
        pace, wait = pace.take(1000.0)
        waits.append(wait)
    assert waits[0] == 0.0
    assert sum(wait == 0.0 for wait in waits) <= 1 + SLACK * 10


def test_a_new_rate_keeps_what_is_due() -> None:
    pace, _ = Pace.begin(1.0, 0.0).take(0.0)
    pace, wait = pace.at_rate(10.0, 0.0).take(0.0)
    assert abs(wait - 1.1) < 1e-9
    unlimited = pace.at_rate(None, 5.0)
    _, wait = unlimited.at_rate(2.0, 5.0).take(5.0)
    assert abs(wait - 0.5) < 1e-9


@given(st.floats(0.1, 1000), st.lists(st.floats(0, 0.5), min_size=1, max_size=200))
def test_n_messages_take_at_least_n_over_rate_seconds(rate: float, gaps: list[float]) -> None:
    now, pace, begun = 50.0, Pace.begin(rate, 50.0), []
    for gap in gaps:
        now += gap
        pace, wait = pace.take(now)
        now += wait  # the sender waits as told, then begins
        begun.append(now)
    for n, at in enumerate(begun, 1):
        assert at >= 50.0 + n / rate - 1e-6
    for i, first in enumerate(begun):
        for k, last in enumerate(begun[i:]):
            assert k <= rate * (last - first + SLACK) + 1 + 1e-6
