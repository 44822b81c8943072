"""`rampa plan FILE`: the plan without a broker."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from console.planning import plan_lines
from planner.dry_run import DryRun, dry_run
from planner.errors import ProblemsFound, SourceError
from schemas.request import CampaignRequest
from streams.settings import Settings

NOW = datetime(2026, 2, 2, 12, 0, 0, 5, tzinfo=UTC)
SETTINGS = Settings.model_validate(
    {
        "relays": {"main": {"host": "relay.example"}},
        "domains": {"bore.example": {"relay": "main", "timezone": "America/Bogota"}},
    }
)


def planned(path: Path, **changes: Any) -> DryRun:
    request = {
        "from": {"email": "cobros@bore.example"},
        "template": {"subject": "Hola {{ first_name }}", "text": "x"},
        "recipients": {"uri": path.as_uri()},
        **changes,
    }
    return dry_run(CampaignRequest.model_validate(request), SETTINGS, NOW)


def clients(directory: Path, count: int, more: str = "") -> Path:
    path = directory / "clients.csv"
    path.write_text("email,first_name\n" + "".join(f"p{i}@example.com,P{i}\n" for i in range(count)) + more)
    return path


def test_the_json_is_the_contracts(tmp_path: Path) -> None:
    run = planned(clients(tmp_path, 4200, "nobody,X\np1@EXAMPLE.com,Again\n"))
    found = json.loads(run.json())
    assert list(found) == ["recipients", "invalid", "duplicate", "sending_days", "starts_at", "ends_at", "batches"]
    assert (found["recipients"], found["invalid"], found["duplicate"]) == (4202, 1, 1)
    assert (found["sending_days"], len(found["batches"])) == (23, 46)
    assert found["starts_at"] == "2026-02-02T14:00:00Z"
    assert found["ends_at"] == found["batches"][-1]["scheduled_for"]
    assert found["batches"][0] == {
        "number": 1, "size": 25, "scheduled_for": "2026-02-02T14:00:00Z", "sending_day": 1,
    }  # fmt: skip
    assert [(row.row, row.kind) for row in run.left_out] == [(4201, "invalid"), (4202, "duplicate")]


def test_a_template_that_needs_what_no_row_has_leaves_everybody_out_and_says_why(tmp_path: Path) -> None:
    run = planned(clients(tmp_path, 3), template={"subject": "{{ nombre }}", "text": "x"})
    assert (run.recipients, run.invalid, run.batches, run.starts_at) == (3, 3, (), None)
    assert {row.reason for row in run.left_out} == {"lacks variable nombre"}
    assert json.loads(run.json())["starts_at"] is None
    assert run.warnings == ("all 3 rows are invalid: nobody is mailed (row 1: lacks variable nombre)",)
    lines = list(plan_lines(run))
    assert lines[:3] == [
        "3 recipients, 3 invalid, 0 duplicate: 0 batches on 0 sending days", f"warning: {run.warnings[0]}",
        "nobody would be mailed",
    ]  # fmt: skip


def test_a_where_that_nobody_matches_is_a_warning(tmp_path: Path) -> None:
    where = {"first_name": ["Nadie", "Nada"]}
    run = planned(path := clients(tmp_path, 1234), recipients={"uri": path.as_uri(), "where": where})
    text = 'no row of 1,234 matches recipients.where {"first_name":["Nadie","Nada"]}: nobody is mailed'
    assert run.warnings == (text,)
    assert not any("None" in line for line in plan_lines(run))


def test_a_plan_that_mails_somebody_has_no_warning(tmp_path: Path) -> None:
    run = planned(path := clients(tmp_path, 3, "nobody,X\n"), recipients={"uri": path.as_uri()})
    assert run.warnings == ()
    assert any(line.startswith("from 2026-02-02T14:00:00Z to ") for line in plan_lines(run))


def test_a_source_that_is_missing_is_a_problem_of_its_field(tmp_path: Path) -> None:
    with pytest.raises(ProblemsFound, match=r"recipients\.uri: .*no such file"):
        planned(tmp_path / "none.csv")


def test_a_source_without_addresses_says_which_columns_it_has(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("name,city\nAna,Quito\n")
    with pytest.raises(SourceError, match="its columns are 'name', 'city'"):
        planned(path)
