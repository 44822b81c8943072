"""Alerts as people see them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from console.alerts import as_of_now, line, still_open
from console.domains import known_domain
from console.errors import ConsoleError
from schemas.batch import HoldReason
from schemas.progress import CampaignProgress
from schemas.records import Alert

NOW = datetime(2026, 3, 4, 10, tzinfo=UTC)


def alert(id_: str, kind: str = "relay_down", *, resolved: bool = False, minutes: int = 0, detail: str = "x") -> Alert:
    return Alert(
        id=id_, sending_domain="bore.example", kind=kind, severity="critical", detail=detail, resolved=resolved,
        at=NOW + timedelta(minutes=minutes),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["relay_down", "domain_refused", "no_sender"])
def test_what_is_over_is_not_open(kind: str) -> None:
    first, second, back = alert("a", kind), alert("b", kind, minutes=1), alert("a", kind, resolved=True, minutes=2)
    assert still_open([first, second, back], NOW) == [second]
    again = alert("c", kind, minutes=3)
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


def held(error: str, minutes: int, relay: str = "main", campaign_id: str = "c") -> CampaignProgress:
    hold = HoldReason(reason="relay_down", detail="it cannot be used", figures={"relay": relay, "error": error})
    return CampaignProgress(
        campaign_id=campaign_id,
        state="running",
        relay=relay,
        holds=(hold,),
        updated_at=NOW + timedelta(minutes=minutes),
    )


def test_a_relay_that_is_down_is_shown_with_what_it_says_by_now() -> None:
    first = alert("a", detail="relay main cannot be used: connect: refused").model_copy(
        update={"relay": "main", "figures": {"error": "connect: refused"}}
    )
    (shown,) = as_of_now([first], [held("auth: 535 no", 5), held("connect: late", 3, campaign_id="d")])
    assert shown.detail == "relay main cannot be used: connect: refused; by now it says: auth: 535 no"
    assert shown.figures == {"error": "connect: refused", "error_now": "auth: 535 no"}
    assert as_of_now([first], [held("connect: refused", 5), held("auth: 535 no", 9, "other")]) == [first]
    assert as_of_now([first], [held("of another time", -5)]) == [first]
    works = held("x", 9).model_copy(update={"holds": ()})
    assert as_of_now([first], [works]) == [first]


def test_a_domain_that_is_refused_is_shown_with_what_its_relay_says_by_now_of_it() -> None:
    first = alert("a", "domain_refused", detail="refused: x").model_copy(update={"figures": {"error": "x"}})

    def of(domain: str) -> CampaignProgress:
        hold = HoldReason(reason="domain_refused", detail="no", figures={"error": "y"})
        return held("z", 5).model_copy(update={"sending_domain": domain, "holds": (hold,)})

    (shown,) = as_of_now([first], [of("bore.example"), held("w", 9)])
    assert (shown.detail, shown.figures["error_now"]) == ("refused: x; by now it says: y", "y")
    assert as_of_now([first], [of("other.example"), held("w", 9)]) == [first]


def test_a_domain_is_known_however_it_is_written_and_an_unknown_one_is_refused() -> None:
    assert known_domain("BÜCHER.example", ["xn--bcher-kva.example"]) == "xn--bcher-kva.example"
    with pytest.raises(ConsoleError, match=re.escape("'nope.example' is not in the settings")):
        known_domain("nope.example", ["bore.example"])


def test_a_line_says_when_how_bad_where_and_what_and_steers_no_terminal() -> None:
    said = line(alert("a", detail="550 \x1b[31mno\r\nreally"))
    assert said == "2026-03-04 10:00:00  critical  bore.example  relay_down: 550  [31mno  really"
    assert "  resolved  " in line(alert("a", resolved=True))
