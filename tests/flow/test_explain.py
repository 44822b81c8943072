"""Every "no" has a reason: what holds a campaign can be read from its progress."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline import Pipeline, request
from waiting import eventually

from console.alerts import alerts
from console.explain import explain
from schemas.progress import CampaignProgress
from simulator.process import SimulatorProcess
from streams.clients import Kafka
from streams.settings import load


@pytest.fixture
def pipeline(embedded_kafka: Kafka, prefix: str, tmp_path: Path) -> Iterator[Pipeline]:
    with SimulatorProcess(tmp_path / "provider") as provider:
        started = Pipeline(embedded_kafka, prefix, tmp_path, provider, start="2026-03-04T10:00:00Z", assume="none")
        with started as p:
            yield p.start()


def said(p: Pipeline, campaign_id: str) -> str:
    """What `rampa campaign explain` prints."""
    argv = [sys.executable, "-m", "console.cli.main", "campaign", "explain", campaign_id, "--config", str(p.config)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout


def test_quota_holds_until_the_next_day(pipeline: Pipeline) -> None:
    pipeline.submit(request("cuota", 80, strategy={"type": "ramp_up", "interval_minutes": 0}))
    held = pipeline.wait_hold("cuota", "daily_limit")
    assert (held.accepted + held.in_flight, held.waiting, held.conserved()) == (50, 30, 80)
    hold = next(h for h in held.holds if h.reason == "daily_limit")
    assert hold.until is not None
    assert f"{hold.until:%Y-%m-%d}" == "2026-03-05"
    text = said(pipeline, "cuota")
    assert "50" in text
    assert "2026-03-05" in text


def test_a_closed_window_holds_until_it_opens(pipeline: Pipeline) -> None:
    pipeline.submit(request("ventana", schedule={"window": ["20:00", "21:00"], "skip_weekends": False}))
    held = pipeline.wait_hold("ventana", "window")
    assert held.accepted == 0
    assert "2026-03-04 20:00" in said(pipeline, "ventana")


def test_a_pause_holds_with_the_reason_that_was_given(pipeline: Pipeline) -> None:
    pipeline.submit(request("pausa", schedule={"start_at": "2026-03-09T10:00:00Z", "window": None}))
    pipeline.wait("pausa", "scheduled")
    pipeline.command("pausa", "pause", reason="wrong amounts")
    pipeline.wait("pausa", "paused")
    assert "wrong amounts" in said(pipeline, "pausa")
    pipeline.command("pausa", "resume")
    pipeline.wait("pausa", "scheduled")
    assert "2026-03-09" in said(pipeline, "pausa")


def test_a_paused_domain_holds_all_its_campaigns(pipeline: Pipeline) -> None:
    pipeline.domain_command("bore.example", "pause", reason="blocked at one provider")
    pipeline.submit(request("dominio"))
    pipeline.wait_hold("dominio", "domain_paused")
    assert "blocked at one provider" in said(pipeline, "dominio")
    pipeline.domain_command("bore.example", "resume")
    assert pipeline.wait("dominio", "completed").accepted == 3


def test_a_dead_relay_holds_and_nobody_is_burnt_as_failed(embedded_kafka: Kafka, prefix: str, tmp_path: Path) -> None:
    provider = SimulatorProcess(tmp_path / "provider")
    provider.start()
    port = provider.port
    provider.stop()
    with Pipeline(embedded_kafka, prefix, tmp_path, provider) as p:
        assert load(p.config, {}).relays["main"].port == port
        p.start()
        p.submit(request("muerta", 20))
        held = p.wait_hold("muerta", "relay_down")
        assert (held.failed, held.in_doubt, held.accepted) == (0, 0, 0)
        assert held.conserved() == 20
        assert said(p, "muerta").startswith("relay main cannot be used: connect: cannot connect to 127.0.0.1")
        provider.start()
        assert p.wait("muerta", "completed", timeout=90).accepted == 20
        provider.stop()


def missed(progress: CampaignProgress | None) -> bool:
    """Whether it is said that no sender answers."""
    return progress is None or any(hold.reason == "no_sender" for hold in progress.holds)


def told_of_silence(p: Pipeline) -> list[bool]:
    """Of each alert that no sender answers: whether it says that this is over."""
    return [alert.resolved for alert in alerts(p.access) if alert.kind == "no_sender"]


def test_a_sender_that_hangs_in_the_middle_is_missed_until_it_is_heard_again(pipeline: Pipeline) -> None:
    pipeline.submit(request("colgada", 300, pace={"rate": "2/s"}))
    eventually(lambda: (p := pipeline.progress("colgada")) is not None and p.accepted > 0, 60, "the first mail")
    pipeline.signal("sender-1", signal.SIGSTOP)
    held = pipeline.wait_hold("colgada", "no_sender", timeout=90)
    assert (held.state, held.per_minute, held.eta, held.conserved()) == ("running", 0.0, None, 300)
    text = said(pipeline, "colgada")
    assert "is a sender running?" in text
    assert f"for {held.in_flight} messages" in text
    assert "It is going out" not in text
    eventually(lambda: told_of_silence(pipeline) == [False], 60, "the alert")
    pipeline.signal("sender-1", signal.SIGCONT)  # it finds that its work is no longer its own, and is started again
    eventually(lambda: not missed(pipeline.progress("colgada")), 60, "a sign of life")
    assert "is a sender running?" not in said(pipeline, "colgada")
    eventually(lambda: told_of_silence(pipeline) == [False, True], 30, "the alert is over")


def test_what_has_ended_says_so() -> None:
    from datetime import UTC, datetime

    now = datetime(2026, 3, 4, tzinfo=UTC)
    done = CampaignProgress(campaign_id="x", state="completed", recipients=1, accepted=1, updated_at=now)
    assert explain(done, now) == ["It is complete: nobody is waiting."]
