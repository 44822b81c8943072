"""A request with a part of the wrong form is judged by the rest as well, in one answer."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner import intake
from planner.errors import SourceError
from planner.meaning import also_wrong
from schemas.campaign import SourceFingerprint
from schemas.command import Origin
from schemas.records import DomainReputation
from schemas.request import CampaignRequest
from streams.settings import Settings

NOW = datetime(2026, 2, 2, 12, tzinfo=UTC)
SETTINGS = Settings.model_validate(
    {"relays": {"main": {"host": "relay.example"}}, "domains": {"bore.example": {"relay": "main"}}}
)
REQUEST: dict[str, Any] = {
    "from": {"email": "cobros@bore.example"},
    "template": {"subject": "Hola", "html": "<p>x</p>"},
    "recipients": {"inline": [{"email": "ana@example.com"}]},
}


def said(request: Any, **more: Any) -> list[str]:
    further = functools.partial(also_wrong, settings=SETTINGS, now=NOW, **more)
    found = intake.read_request(orjson.dumps(request), Origin(topic="t", partition=0, offset=0), NOW, 100, further)
    assert isinstance(found, intake.Refusal)
    return [one.field for one in found.problems]


def test_what_has_the_wrong_form_and_what_makes_no_sense_are_told_together() -> None:
    wrong = {
        "from": {"email": "cobros@boer.example"},
        "template": {"subject": "Hola", "html": "{% if %}"},
        "recipients": {"inline": [], "unless_mailed_by": ["other"]},
        "relay": "mian",
        "max_retries": "many",
        "strategy": {"type": "ramp_up", "batch_size": 5000, "daily_limits": [0]},
        "schedule": {"start_at": "2126-01-01T00:00:00Z", "timezone": "Nowhere"},
        "fallback": {"after_days": 3},
        "tgas": {},
    }
    assert said(wrong) == [
        "strategy.daily_limits.0", "schedule.timezone", "max_retries", "tgas",  # as pydantic finds them
        "from.email", "relay", "strategy.batch_size", "schedule.start_at", "fallback", "template.html",
        "recipients.unless_mailed_by",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"from": {"email": "nobody"}}, ["from.email"]),
        ({"from": "x"}, ["from"]),
        ({"template": {"html": "{{"}}, ["template"]),
        ({"recipients": {"uri": "ftp://x"}}, ["recipients.uri"]),
        ({"schedule": {"window": ["09:00", "09:00"]}}, ["schedule"]),
        ({"from": {"email": "cobros@bore.example", "name": "a\nb"}, "relay": "mian"}, ["from.name", "relay"]),
    ],
)
def test_nothing_is_said_of_what_stands_in(change: dict[str, Any], fields: list[str]) -> None:
    assert said({**REQUEST, **change}) == fields


@pytest.mark.parametrize(
    "change",
    [
        {"strategy": {"type": 7, "batch_size": 5000}},
        {"from": {"email": "nobody"}, "strategy": {"daily_limits": [5000]}},  # of a warm domain, perhaps
    ],
)
def test_the_numbers_of_a_strategy_are_not_judged_before_one_knows_which_it_is(change: dict[str, Any]) -> None:
    assert len(said({**REQUEST, **change})) == 1


def test_what_auto_means_follows_from_the_domains_standing() -> None:
    def warm(domain: str) -> DomainReputation | None:
        return DomainReputation(sending_domain=domain, sending_day=30, warm=domain == "bore.example", as_of=NOW)

    asked = {**REQUEST, "tgas": {}, "strategy": {"batch_size": 50}}
    assert said(asked) == ["tgas"]
    assert said(asked, reputation=warm) == ["tgas", "strategy.batch_size"]


def test_recipients_are_looked_at_where_one_can_and_they_have_the_right_form() -> None:
    def gone(request: CampaignRequest) -> SourceFingerprint | SourceError:
        return SourceError(f"{request.recipients.uri}: no such file")

    asked = {**REQUEST, "recipients": {"uri": "file:///nowhere.csv"}, "tgas": {}}
    assert said(asked) == ["tgas"]
    assert said(asked, source=gone) == ["tgas", "recipients.uri"]
    assert said({**asked, "recipients": {"uri": "nowhere.csv"}}, source=gone) == ["recipients.uri", "tgas"]


@pytest.mark.parametrize("name", ["str", "int", "function-before", "[", "from_"])
def test_an_unknown_field_may_be_called_as_pydantic_calls_branches(name: str) -> None:
    assert said({**REQUEST, name: 1}) == [name]
    assert said({**REQUEST, "schedule": {name: 1}}) == [f"schedule.{name}"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_NAMES = st.sampled_from([field.alias or name for name, field in CampaignRequest.model_fields.items()]) | st.text()


@given(st.dictionaries(_NAMES, _JSON, max_size=5))
def test_whatever_is_written_the_first_problems_stay_and_none_is_told_twice(change: dict[str, Any]) -> None:
    value = orjson.dumps({**REQUEST, **change})
    origin = Origin(topic="t", partition=0, offset=0)
    first = intake.read_request(value, origin, NOW)
    if isinstance(first, intake.Refusal):
        fields = said({**REQUEST, **change})
        assert fields[: len(first.problems)] == [one.field for one in first.problems]
        assert not set(fields[len(first.problems) :]) & set(fields[: len(first.problems)])
