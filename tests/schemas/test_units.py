"""Limits as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.units import parse_duration, parse_quota, parse_rate, show_rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("14/s", 14.0),
        ("300/min", 5.0),
        ("3600/h", 1.0),
        ("86400/day", 1.0),
        (5, 5.0),
        ("0.5/s", 0.5),
        (" 20 / s ", 20.0),
    ],
)
def test_a_rate_is_messages_a_second(text: object, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "fast", "5/fortnight", "-1/s", "0/s", 0, True, None, "1e3/s"])
def test_what_is_not_a_rate_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"rate"):
        parse_rate(text)


@pytest.mark.parametrize(("text", "quota"), [("500/day", 500), ("500", 500), (500, 500), ("6000 / d", 6000)])
def test_a_quota_is_messages_a_day(text: object, quota: int) -> None:
    assert parse_quota(text) == quota


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30d", 30 * 86400), ("4h", 14400), ("15min", 900), ("15m", 900), ("90s", 90), ("250ms", 0.25)],
)
def test_a_duration_has_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["30", "soon", "", 30, "-1d", "1 month"])
def test_a_duration_without_a_unit_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="30d"):
        parse_duration(text)


@given(st.integers(1, 100_000), st.sampled_from(["s", "min", "h", "day"]))
def test_a_rate_that_is_shown_is_read_as_the_same(n: int, unit: str) -> None:
    rate = parse_rate(f"{n}/{unit}")
    assert isinstance(rate, float)
    assert parse_rate(show_rate(rate)) == pytest.approx(rate, rel=1e-4)
