"""What a user may write, and what is said about the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.request import CampaignRequest

LEAST: dict[str, Any] = {
    "from": {"email": "cobros@bore.example"},
    "template": {"subject": "Hola", "text": "Hola"},
    "recipients": {"inline": [{"email": "ana@correo.example"}]},
}
FULL: dict[str, Any] = {
    "campaign_id": "cobranza-2026-02",
    "name": "Cobranza febrero",
    "from": {"email": "cobros@bore.example", "name": "Bore"},
    "reply_to": None,
    "relay": None,
    "template": {"subject": "Hola {{ first_name }}", "html": "<p>...</p>", "text": None},
    "recipients": {"uri": "file:///data/clients.csv", "where": {"status": "waitlist"}, "unless_mailed_by": []},
    "strategy": {"type": "auto"},
    "pace": {"rate": None, "connections": None},
    "schedule": {"start_at": None, "timezone": "America/Bogota", "window": ["09:00", "17:00"], "skip_weekends": True},
    "tracking": {"opens": True, "clicks": True},
    "in_doubt": "hold",
    "max_retries": 3,
    "fallback": None,
    "tags": {"team": "collections"},
}


def read(data: Any) -> CampaignRequest:
    return CampaignRequest.decode(json.dumps(data))


def test_the_example_of_the_contract_is_read_and_written_again() -> None:
    request = read(FULL)
    assert request.from_.name == "Bore"
    assert CampaignRequest.decode(request.encode()) == request


def test_only_from_template_and_recipients_are_required() -> None:
    assert read(LEAST).in_doubt == "hold"
    with pytest.raises(ValidationError) as error:
        read({})
    assert {e["loc"] for e in error.value.errors()} == {("from",), ("template",), ("recipients",)}


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"sender": "x"}, ("sender",)),
        ({"from": {"email": "no address"}}, ("from", "email")),
        ({"from": {"email": "a@b.example", "name": "x\r\nBcc: y@z.example"}}, ("from", "name")),
        ({"campaign_id": "a/b"}, ("campaign_id",)),
        ({"campaign_id": ""}, ("campaign_id",)),
        ({"template": {"subject": "x\ny", "text": "t"}}, ("template", "subject")),
        ({"template": {"subject": "x"}}, ("template",)),
        ({"template": {"id": "a", "subject": "x"}}, ("template",)),
        ({"recipients": {}}, ("recipients",)),
        ({"recipients": {"uri": "http://x.example/a.csv"}}, ("recipients", "uri")),
        ({"recipients": {"uri": "file:///a.csv", "inline": []}}, ("recipients",)),
        ({"schedule": {"timezone": "America/Bogata"}}, ("schedule", "timezone")),
        ({"schedule": {"window": ["09:00", "09:00"]}}, ("schedule",)),
        ({"schedule": {"window": ["9 o'clock", "17:00"]}}, ("schedule", "window", 0)),
        ({"schedule": {"start_at": "2026-02-02T09:00:00"}}, ("schedule", "start_at")),
        ({"pace": {"rate": "fast"}}, ("pace", "rate")),
        ({"strategy": {"type": "batch", "interval_minutes": []}}, ("strategy",)),
        ({"strategy": {"batchsize": 5}}, ("strategy", "batchsize")),
        ({"max_retries": 9}, ("max_retries",)),
        ({"in_doubt": "maybe"}, ("in_doubt",)),
        ({"tags": {"a\r\nX: y": "b"}}, ("tags", "a\r\nX: y", "[key]")),
    ],
)
def test_each_problem_is_named_by_its_field(change: dict[str, Any], place: tuple[str | int, ...]) -> None:
    with pytest.raises(ValidationError) as error:
        read({**LEAST, **change})
    assert place in {e["loc"] for e in error.value.errors()}


def test_a_window_left_out_differs_from_any_time() -> None:
    left_out = read(LEAST).schedule
    any_time = read({**LEAST, "schedule": {"window": None}}).schedule
    assert "window" not in left_out.model_fields_set
    assert "window" in any_time.model_fields_set
