"""Sending domains as people see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.cimpl import NewTopic

from console.access import Access
from console.domains import standing_lines, standings
from schemas.gate_state import GateRow
from schemas.topics import GATE_STATE
from streams.clients import Kafka
from streams.settings import load

STANDING: dict[str, Any] = {
    "domain": "bore.example", "relay": "main", "timezone": "America/Bogota", "warm": False, "sending_day": 3,
    "today": None, "sent_today": 0, "reserved_today": 0, "paused": False, "reason": None,
    "refused": None,
    "daily_limit": {"ramp_up": 150, "batch": None},
}  # fmt: skip


def shown(**more: Any) -> dict[str, str]:
    return {line[:16].strip(): line[17:] for line in standing_lines({**STANDING, **more})}


def test_a_standing_is_written_for_people() -> None:
    assert shown() == {
        "domain": "bore.example", "relay": "main", "time zone": "America/Bogota", "warm-up": "sending day 3",
        "today": "nothing has gone out yet", "paused": "no", "messages a day": "150 by ramp_up, no limit by batch",
    }  # fmt: skip
    assert shown(today="2026-03-04", sent_today=50, reserved_today=5)["today"] == "2026-03-04: 50 sent, 5 reserved"
    assert shown(warm=True)["warm-up"] == "over: the domain is warm"


@pytest.mark.parametrize(("reason", "said"), [(None, "yes"), ("blocked\x1b[2J", "yes: blocked [2J")])
def test_a_pause_is_shown_with_its_reason(reason: str | None, said: str) -> None:
    assert shown(paused=True, reason=reason)["paused"] == said


def test_a_domain_that_its_relay_refuses_is_shown_with_what_it_says() -> None:
    refused = {"error": "domain: 553 5.7.1 no", "since": "2026-03-04T10:00:00Z", "attempts": 3, "next_try": None}
    assert "refused" not in shown()
    assert shown(refused=refused)["refused"] == (
        "relay main takes nothing from it: domain: 553 5.7.1 no (3 tries since 2026-03-04T10:00:00Z)"
    )


def test_a_warm_domain_has_the_limits_that_the_gate_gives_it(
    tmp_path: Path, embedded_kafka: Kafka, prefix: str
) -> None:
    file = tmp_path / "rampa.toml"
    file.write_text(
        f'[kafka]\ntopic_prefix = "{prefix}"\n[relays.main]\nhost = "smtp.example"\n'
        '[domains."cold.example"]\nrelay = "main"\n[domains."warm.example"]\nrelay = "main"\nwarm = true\n'
        '[domains."proven.example"]\nrelay = "main"\n'
    )
    access = Access(load(file, {}), embedded_kafka)
    admin = embedded_kafka.admin()
    for future in admin.create_topics([NewTopic(prefix + GATE_STATE.name, 1, 1, config=GATE_STATE.config())]).values():
        future.result(20)
    row = GateRow(table="domain", name="proven.example", row={"warm": True, "sending_day": 2})
    access.put(GATE_STATE, "domain:proven.example", row)
    down = {"since": "2026-03-04T10:00:00Z", "error": "domain: 550 no", "attempts": 2, "next_real": 1000.5}
    cold = GateRow(table="domain", name="cold.example", row={"down": down})
    access.put(GATE_STATE, "domain:cold.example", cold)
    found = {one["domain"]: one for one in standings(access)}
    assert found["cold.example"]["daily_limit"] == {"ramp_up": 50, "conservative": 10, "batch": 50_000}
    assert found["warm.example"]["daily_limit"] == {"ramp_up": 200, "conservative": 50, "batch": 50_000}
    assert found["proven.example"]["daily_limit"] == found["warm.example"]["daily_limit"]
    assert found["proven.example"]["warm"]
    assert found["proven.example"]["refused"] is None
    assert found["cold.example"]["refused"] == {
        "error": "domain: 550 no", "since": "2026-03-04T10:00:00Z", "attempts": 2, "next_try": "1970-01-01T00:16:40Z",
    }  # fmt: skip
