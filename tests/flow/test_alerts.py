"""What an operator is told: by real processes, on the topic `alerts`, as `rampa alerts` and `rampa domain show`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pipeline import Pipeline, request
from waiting import eventually

from console.alerts import alerts
from simulator.process import SimulatorProcess
from simulator.settings import Settings
from streams.clients import Kafka


def rampa(p: Pipeline, *words: str) -> str:
    """What a command prints."""
    argv = [sys.executable, "-m", "console.cli.main", *words, "--config", str(p.config)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_relay_that_refuses_our_password_is_an_alert_until_it_takes_it(
    embedded_kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    refusing = Settings(users={"ana": "another"}, require_auth=True)
    with SimulatorProcess(tmp_path / "refusing", settings=refusing) as provider:
        relay = {"username": "ana", "password": "secret"}
        with Pipeline(embedded_kafka, prefix, tmp_path, provider, relay=relay) as p:
            p.start()
            p.submit(request("clave", 20))
            eventually(lambda: list(alerts(p.access)), 60, lambda: p.say("clave", {"an alert"}))
            told = json.loads(rampa(p, "alerts", "--json"))
            assert [(a["kind"], a["severity"], a["relay"], a["resolved"]) for a in told] == [
                ("relay_down", "critical", "main", False)
            ]
            assert "auth: 535" in told[0]["detail"]
            assert "secret" not in json.dumps(told)
            assert "relay_down: relay main cannot be used" in rampa(p, "domain", "show", "bore.example")
            progress = p.progress("clave")
            assert progress is not None
            assert (progress.failed, progress.in_doubt) == (0, 0)
            provider.stop()
            taking = Settings(users={"ana": "secret"}, require_auth=True)
            with SimulatorProcess(tmp_path / "taking", settings=taking, port=provider.port):
                assert p.wait("clave", "completed", timeout=90).accepted == 20
                eventually(lambda: len(list(alerts(p.access))) > 1, 30, lambda: str(list(alerts(p.access))))
                ids = [(alert.id, alert.resolved) for alert in alerts(p.access)]
                assert ids == [(told[0]["id"], False), (told[0]["id"], True)]
                assert rampa(p, "alerts", "bore.example", "--open") == "No alerts.\n"
