"""Alerts as people see them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from console.alerts import line, still_open
from schemas.records import Alert

NOW = datetime(2026, 3, 4, 10, tzinfo=UTC)


def alert(id_: str, kind: str = "relay_down", *, resolved: bool = False, minutes: int = 0, detail: str = "x") -> Alert:
    return Alert(
        id=id_, sending_domain="bore.example", kind=kind, severity="critical", detail=detail, resolved=resolved,
        at=NOW + timedelta(minutes=minutes),
    )  # fmt: skip


def test_what_is_over_is_not_open() -> None:
    first, second, back = alert("a"), alert("b", minutes=1), alert("a", resolved=True, minutes=2)
    assert still_open([first, second, back]) == [second]
    again = alert("c", minutes=3)
    assert still_open([first, back, again]) == [again]


def test_what_tells_of_a_moment_is_never_open() -> None:
    assert still_open([alert("a", "chunk_failed"), alert("b", "daily_quota"), alert("c", "in_doubt")]) == [
        alert("c", "in_doubt")
    ]


def test_a_line_says_when_how_bad_where_and_what_and_steers_no_terminal() -> None:
    said = line(alert("a", detail="550 \x1b[31mno\r\nreally"))
    assert said == "2026-03-04 10:00:00  critical  bore.example  relay_down: 550  [31mno  really"
    assert "  resolved  " in line(alert("a", resolved=True))
