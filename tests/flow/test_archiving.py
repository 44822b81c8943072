"""A campaign that ended long ago: its recipients are gone, its figures stay, and nothing opens it again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pipeline import Pipeline, request
from waiting import eventually

from schemas.topics import BATCH_RECIPIENTS, CAMPAIGN_COMMANDS, CAMPAIGN_REQUESTS
from simulator.process import SimulatorProcess
from streams.clients import Kafka
from streams.table import read_topic


def parts(p: Pipeline, campaign_id: str) -> int:
    """How many parts of its recipients stand on the topic."""
    newest = {r.key or b"": r.value for r in read_topic(p.access.kafka, p.access.name(BATCH_RECIPIENTS))}
    return sum(key.startswith(f"{campaign_id}/".encode()) and v is not None for key, v in newest.items())


def rampa(p: Pipeline, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "console.cli.main", *words, "--config", str(p.config)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def test_a_campaign_is_archived_by_the_installations_clock(
    embedded_kafka: Kafka, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        SimulatorProcess(tmp_path / "provider") as provider,
        Pipeline(embedded_kafka, prefix, tmp_path, provider, speed=3600.0) as p,
    ):
        p.start("planner-1", "sender-1", "gate-1")
        rows = [{"email": f"p{i}@vieja.example", "first_name": "Ana"} for i in range(30)]
        rows.append({"email": "nobody", "first_name": "x"})
        old = request("vieja", recipients={"inline": [*rows, {"email": "bounce+1@vieja.example", "first_name": "B"}]})
        p.submit(old)
        done = p.wait("vieja", "completed")
        assert (done.accepted, done.failed, done.invalid, done.archived_at) == (30, 1, 1, None)
        assert parts(p, "vieja") > 0
        p.stop("gate-1")
        monkeypatch.setenv("RAMPA_ARCHIVE_AFTER", "1h")  # the 30 days of the default are 12 minutes here
        p.start("gate-1")
        eventually(lambda: (found := p.progress("vieja")) is not None and found.archived_at is not None, 60)
        archived = p.wait("vieja", "completed")
        assert (archived.state, archived.accepted, archived.failed, archived.conserved()) == ("completed", 30, 1, 32)
        assert archived.last_errors == ()
        eventually(lambda: parts(p, "vieja") == 0, 60, lambda: p.say("vieja", {"cleared"}), 0.2)

        p.command("vieja", "retry")
        p.submit(old)
        p.submit(request("nueva", 3))
        assert p.wait("nueva", "completed").accepted == 3
        for topic in (CAMPAIGN_COMMANDS, CAMPAIGN_REQUESTS):
            dead = eventually(lambda topic=topic: p.dead_letters(topic), 30)  # type: ignore[misc]
            assert "was archived at" in dead[0]["error"]
        assert sum("vieja" in m.recipients[0] for m in p.mails()) == 30

        listed = rampa(p, "campaign", "recipients", "vieja")
        assert listed.stdout.startswith("nobody\tinvalid\trow 31")
        assert "30 accepted" in listed.stderr
        assert "archived" in rampa(p, "campaign", "status", "vieja").stdout
