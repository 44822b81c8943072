"""A relay that takes nothing from one of its domains, by real processes: that domain waits, the others go on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pipeline import Pipeline, request
from waiting import eventually

from console.alerts import alerts
from simulator.process import SimulatorProcess
from simulator.rules import Reject
from streams.clients import Kafka

WORDS = "Sender address rejected: not owned by user bore"
NEW = '[domains."nueva.example"]\nrelay = "main"\n'


def rampa(p: Pipeline, *words: str) -> str:
    """What a command prints."""
    argv = [sys.executable, "-m", "console.cli.main", *words, "--config", str(p.config)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_domain_that_its_relay_refuses_holds_itself_alone_until_it_is_taken(
    embedded_kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    rule = Reject(at="mail", sender="*@nueva.example", code=553, enhanced="5.7.1", text=WORDS)
    with (
        SimulatorProcess(tmp_path / "refusing", rules=[rule]) as provider,
        Pipeline(embedded_kafka, prefix, tmp_path, provider, more=NEW) as p,
    ):
        p.start()
        p.submit(request("nueva", 20, **{"from": {"email": "hola@nueva.example", "name": "Nueva"}}))
        p.wait_hold("nueva", "domain_refused")
        p.submit(request("buena", 50))
        assert p.wait("buena", "completed").accepted == 50
        eventually(lambda: list(alerts(p.access)), 60, lambda: p.say("nueva", {"an alert"}))
        held = p.wait_hold("nueva", "domain_refused")
        assert (held.accepted, held.failed, held.in_doubt, held.conserved()) == (0, 0, 0, 20)
        assert {hold.reason for hold in held.holds} == {"domain_refused"}
        (told,) = json.loads(rampa(p, "alerts", "--open", "--json"))
        assert (told["kind"], told["sending_domain"], told["resolved"]) == ("domain_refused", "nueva.example", False)
        assert WORDS in rampa(p, "domain", "show", "nueva.example")
        refused = {one["domain"]: one["refused"] for one in json.loads(rampa(p, "domain", "list", "--json"))}
        assert refused["bore.example"] is None
        assert refused["nueva.example"]["error"] == f"domain: 553 5.7.1 {WORDS}"
        said = rampa(p, "campaign", "explain", "nueva")
        assert said.startswith("relay main refuses mail from nueva.example: domain: 553 5.7.1 Sender address rejected")
        assert len(p.mails()) == 50
        provider.stop()
        with SimulatorProcess(tmp_path / "taking", port=provider.port) as taking:
            p.domain_command("nueva.example", "resume")
            assert p.wait("nueva", "completed", timeout=90).accepted == 20
            assert len(list(taking.records())) == 20
        eventually(lambda: len(list(alerts(p.access))) > 1, 30, lambda: str(list(alerts(p.access))))
        assert [(a.id, a.resolved) for a in alerts(p.access)] == [(told["id"], False), (told["id"], True)]
