"""Alerts as people see them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from console.alerts import line, still_open
from console.domains import known_domain
from console.errors import ConsoleError
from schemas.records import Alert

NOW = datetime(2026, 3, 4, 10, tzinfo=UTC)


def alert(id_: str, kind: str = "relay_down", *, resolved: bool = False, minutes: int = 0, detail: str = "x") -> Alert:
    return Alert(
        id=id_, sending_domain="bore.example", kind=kind, severity="critical", detail=detail, resolved=resolved,
        at=NOW + timedelta(minutes=minutes),
    )  # fmt: skip


def test_what_is_over_is_not_open() -> None:
    first, second, back = alert("a"), alert("b", minutes=1), alert("a", resolved=True, minutes=2)
    assert still_open([first, second, back], NOW) == [second]
    again = alert("c", minutes=3)
    assert still_open([first, back, again], NOW) == [again]


def test_what_has_happened_is_never_open() -> None:
    found = [alert("a", "chunk_failed"), alert("b", "batch_failed"), alert("c", "in_doubt")]
    assert still_open(found, NOW) == [alert("c", "in_doubt")]


@pytest.mark.parametrize("figures", [{"day": "2026-03-04"}, {}, {"day": "soon"}], ids=str)
def test_a_used_up_quota_is_open_until_its_day_ends_at_midnight_of_utc(figures: dict[str, Any]) -> None:
    used_up = alert("q", "daily_quota").model_copy(update={"figures": figures})
    midnight = datetime(2026, 3, 5, tzinfo=UTC)
    assert still_open([used_up], NOW) == still_open([used_up], midnight - timedelta(seconds=1)) == [used_up]
    assert still_open([used_up], midnight.astimezone(ZoneInfo("America/Bogota"))) == []
    back = used_up.model_copy(update={"resolved": True})
    assert still_open([used_up, back], NOW) == []


def test_a_domain_is_known_however_it_is_written_and_an_unknown_one_is_refused() -> None:
    assert known_domain("BÜCHER.example", ["xn--bcher-kva.example"]) == "xn--bcher-kva.example"
    with pytest.raises(ConsoleError, match=re.escape("'nope.example' is not in the settings")):
        known_domain("nope.example", ["bore.example"])


def test_a_line_says_when_how_bad_where_and_what_and_steers_no_terminal() -> None:
    said = line(alert("a", detail="550 \x1b[31mno\r\nreally"))
    assert said == "2026-03-04 10:00:00  critical  bore.example  relay_down: 550  [31mno  really"
    assert "  resolved  " in line(alert("a", resolved=True))
