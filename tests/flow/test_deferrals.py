"""Who is refused for now is forgotten by no death and mailed once, in real processes on Apache Kafka."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pipeline import Pipeline, request
from waiting import eventually

from schemas.event import MailEvent
from schemas.progress import CampaignProgress
from schemas.topics import MAIL_EVENTS
from simulator.process import SimulatorProcess
from simulator.rules import Defer, Reject
from streams import process
from streams.clients import Kafka
from streams.table import read_topic

QUICK = """
[deferrals]
after = ["1min", "3min"]
give_up_after = "30d"
"""
SHORT = QUICK.replace("30d", "10min")
SPEED = 60.0
"""A minute in a second."""
REFUSED = Reject(at="rcpt", code=451, enhanced="4.3.0", text="Come back later", recipient="*@later.example")


def people(campaign_id: str, each: int, **more: Any) -> dict[str, Any]:
    """As many whom the provider refuses for now as others."""
    rows = [{"email": f"p{i}@{'later' if i % 2 else 'fine'}.example", "first_name": f"Ana{i}"} for i in range(2 * each)]
    return request(campaign_id, recipients={"inline": rows}, max_retries=0, **more)


def deferrals(p: Pipeline) -> Counter[int]:
    """How often each recipient was deferred, by the events."""
    events = [MailEvent.decode(r.value or b"") for r in read_topic(p.access.kafka, p.access.name(MAIL_EVENTS))]
    ids = {e.event_id: e for e in events}
    assert all(e.event_type != "failed" for e in events)
    return Counter(e.recipient_index for e in ids.values() if e.event_type == "deferred")


def waiting(p: Pipeline, n: int) -> CampaignProgress | None:
    found = p.progress("c")
    return found if found is not None and found.deferred == n else None


def test_a_greylisting_server_takes_the_whole_batch_five_minutes_later(
    embedded_kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    rule = Defer(times=1)  # whoever is new is refused once
    with (
        SimulatorProcess(tmp_path / "provider", rules=[rule]) as provider,
        Pipeline(embedded_kafka, prefix, tmp_path, provider, speed=SPEED) as p,
    ):
        p.start()
        p.submit(request("grey", 60, max_retries=0))
        done = p.wait("grey", "completed", timeout=90)
        assert (done.accepted, done.failed) == (60, 0)
        events = [MailEvent.decode(r.value or b"") for r in read_topic(embedded_kafka, p.access.name(MAIL_EVENTS))]
        times: dict[int, dict[str, datetime]] = {e.recipient_index: {} for e in events}
        for e in events:
            times[e.recipient_index][e.event_type] = e.event_time
        waited = [(t["accepted"] - t["deferred"]) / timedelta(minutes=1) for t in times.values()]
        assert len(waited) == 60
        assert min(waited) >= 5
        assert Counter(e.event_type for e in events) == {"deferred": 60, "accepted": 60}


def test_one_who_is_always_refused_as_if_the_account_were_used_up_keeps_nobody_waiting_and_has_his_end(
    embedded_kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    rule = Reject(at="rcpt", code=550, enhanced="5.4.5", text="Daily user sending quota exceeded", recipient="p20@*")
    with (
        SimulatorProcess(tmp_path / "provider", rules=[rule]) as provider,
        Pipeline(embedded_kafka, prefix, tmp_path, provider, speed=SPEED, more=SHORT) as p,
    ):
        p.start()
        p.submit(people("c", 20))
        done = p.wait("c", "completed", timeout=90)
        assert (done.accepted, done.failed, done.in_doubt, done.conserved()) == (39, 1, 0, 40)
        mailed = Counter(r for m in provider.records() for r in m.recipients)
        assert (len(mailed), set(mailed.values())) == (39, {1})
        events = [MailEvent.decode(r.value or b"") for r in read_topic(embedded_kafka, p.access.name(MAIL_EVENTS))]
        ((end, reason),) = {(e.recipient, e.reason) for e in events if e.event_type == "failed"}
        assert end == "p20@fine.example"
        assert reason in {"policy", "expired"}  # his domain took other mail after that, or nothing more was sent to it


@pytest.mark.apache
@pytest.mark.timeout(300)
def test_gate_and_sender_die_while_recipients_are_deferred_and_each_is_mailed_once(
    apache_kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    port = process.free_port()
    relay = {"port": port}
    with Pipeline(apache_kafka, prefix, tmp_path, relay=relay, speed=SPEED, more=QUICK) as p:
        with SimulatorProcess(tmp_path / "refusing", port=port, rules=[REFUSED]) as refusing:
            p.start()
            p.submit(people("c", 20))
            eventually(lambda: waiting(p, 20), 90, lambda: p.say("c", {"20 deferred"}))
            for dying in (("gate-1", "sender-1"), ("sender-1",)):  # refused until the provider changes
                for name in dying:
                    p.signal(name, signal.SIGKILL)
                before = deferrals(p)
                for name in dying:
                    p.restart(name)
                eventually(partial(goes_on, p, before), 90, lambda: p.say("c", {"more tries"}))
            assert "refused for now" in said(p)
            first = list(refusing.records())
        with SimulatorProcess(tmp_path / "taking", port=port) as taking:
            done = p.wait("c", "completed", timeout=120)
            if done.in_doubt:  # on the wire when their sender died
                p.command("c", "resolve", resolution="resend")
                eventually(lambda: accepted(p) == 40, 60, lambda: p.say("c", {"40 accepted"}))
            done = p.wait("c", "completed")
            mailed = Counter(r for m in (*first, *taking.records()) for r in m.recipients)
    assert (done.accepted, done.failed, done.deferred, done.conserved()) == (40, 0, 0, 40)
    assert len(mailed) == 40
    assert set(mailed.values()) == {1}


def goes_on(p: Pipeline, before: Counter[int]) -> bool:
    """Somebody was tried twice more since then, or waits for what a death left unknown."""
    now = deferrals(p)
    return sum(now[i] >= before[i] + 2 for i in before) >= 10


def accepted(p: Pipeline) -> int:
    found = p.progress("c")
    return 0 if found is None else found.accepted


def said(p: Pipeline) -> str:
    """What `rampa campaign explain` prints."""
    argv = [sys.executable, "-m", "console.cli.main", "campaign", "explain", "c", "--config", str(p.config)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout
